/** Percentiles of a set of durations, milliseconds. */
export interface Latency {
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** Summarizes durations exactly, by sorting all of them: a run has at most some hundred thousand. */
export function summarize(durations: readonly number[]): Latency {
  const sorted = Float64Array.from(durations).sort();
  const at = (share: number): number =>
    round(sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? 0);
  return { count: sorted.length, p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999), max: at(1) };
}

/** Durations counted by the millisecond: what a million samples from several processes fit in. */
export class Milliseconds {
  readonly counts: number[];

  /** @param counts by millisecond, as another process has sent them */
  constructor(counts: readonly number[] = []) {
    this.counts = [...counts];
  }

  add(ms: number, times = 1): void {
    const place = Math.max(0, Math.round(ms));
    while (this.counts.length <= place) this.counts.push(0);
    this.counts[place] = (this.counts[place] ?? 0) + times;
  }

  merge(other: readonly number[]): void {
    other.forEach((times, ms) => times > 0 && this.add(ms, times));
  }

  summarize(): Latency {
    const count = this.counts.reduce((sum, times) => sum + times, 0);
    const at = (share: number): number => {
      let left = Math.max(1, Math.ceil(share * count));
      for (const [ms, times] of this.counts.entries()) if ((left -= times) <= 0) return ms;
      return 0;
    };
    return { count, p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999), max: at(1) };
  }
}

/** Two significant figures more than anyone needs, and no more. */
export function round(value: number, digits = 2): number {
  return Number(value.toFixed(digits));
}
