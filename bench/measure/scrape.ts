import { round } from './latencies.ts';

/** The figures of a tier's /metrics that benchmarks report. */
export class Scrape {
  readonly #samples = new Map<string, number>();
  readonly #lines: readonly string[];

  private constructor(text: string) {
    this.#lines = text.split('\n');
    for (const line of this.#lines) {
      const sample = /^(\w+)(?:\{[^}]*\})? (\S+)$/.exec(line);
      if (!sample) continue;
      const name = sample[1] ?? '';
      this.#samples.set(name, (this.#samples.get(name) ?? 0) + Number(sample[2]));
    }
  }

  static async of(url: string): Promise<Scrape> {
    return new Scrape(await (await fetch(`${url}/metrics`)).text());
  }

  /** A metric, summed over its labels; 0 when the tier has none of the name. */
  value(name: string): number {
    return this.#samples.get(name) ?? 0;
  }

  /** A metric by one of its labels. */
  by(name: string, label: string): Record<string, number> {
    const values: Record<string, number> = {};
    for (const line of this.#lines) {
      if (!line.startsWith(`${name}{`)) continue;
      const of = new RegExp(`[{,]${label}="([^"]*)"`).exec(line)?.[1] ?? '';
      values[of] = (values[of] ?? 0) + Number(line.split(' ').at(-1));
    }
    return values;
  }

  /** The mean of what a histogram observed since an earlier scrape. */
  meanSince(before: Scrape, histogram: string): number {
    const count = this.value(`${histogram}_count`) - before.value(`${histogram}_count`);
    return count === 0 ? 0 : (this.value(`${histogram}_sum`) - before.value(`${histogram}_sum`)) / count;
  }

  /**
   * How late the event loop was since the scrape before, which reset it, p99 in milliseconds. Node samples it by a timer
   * of 10 ms, which is not lateness.
   */
  get loopDelayP99Ms(): number {
    return round(Math.max(0, this.value('nodejs_eventloop_lag_p99_seconds') * 1000 - 10), 1);
  }
}
