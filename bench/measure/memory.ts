import type { Usage } from './processes.ts';

/** The memory of processes over time, MB, by name. */
export class MemoryWatch {
  readonly #samples: { readonly minute: number; readonly rssMb: Readonly<Record<string, number>> }[] = [];
  readonly #begun = performance.now();
  readonly #timer: NodeJS.Timeout;
  readonly #usage: () => Record<string, Usage>;

  constructor(usage: () => Record<string, Usage>, everyMs: number) {
    this.#usage = usage;
    this.#timer = setInterval(() => this.#sample(), everyMs);
    this.#sample();
  }

  /** Takes the last sample. */
  stop(): void {
    clearInterval(this.#timer);
    this.#sample();
  }

  get names(): string[] {
    return Object.keys(this.#samples[0]?.rssMb ?? {});
  }

  first(name: string): number {
    return this.#samples[0]?.rssMb[name] ?? NaN;
  }

  last(name: string): number {
    return this.#samples.at(-1)?.rssMb[name] ?? NaN;
  }

  most(name: string): number {
    return Math.max(...this.#samples.map(({ rssMb }) => rssMb[name] ?? NaN));
  }

  /** @param from from which part of the run on, 0 = all of it @returns MB a minute, by least squares */
  growth(name: string, from = 0): number {
    const samples = this.#samples.slice(Math.floor(from * this.#samples.length));
    const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
    const minutes = samples.map(({ minute }) => minute);
    const sizes = samples.map(({ rssMb }) => rssMb[name] ?? NaN);
    const [minute, size] = [mean(minutes), mean(sizes)];
    const spread = mean(minutes.map((x) => (x - minute) ** 2));
    return mean(minutes.map((x, i) => (x - minute) * ((sizes[i] ?? NaN) - size))) / spread;
  }

  toJSON(): unknown {
    return this.#samples;
  }

  #sample(): void {
    const rssMb = Object.fromEntries(
      Object.entries(this.#usage()).map(([name, usage]) => [name, usage.rssMb]),
    );
    this.#samples.push({ minute: (performance.now() - this.#begun) / 60_000, rssMb });
  }
}
