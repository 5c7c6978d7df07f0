import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks';

/** How often the loop is looked at, ms. Node samples its delay by a timer, whose own interval is not delay. */
const RESOLUTION_MS = 10;
const INTERVAL_MS = 250;
/** What the last interval counts: a pause alone weighs a quarter, and what lasts for two seconds nearly all. */
const WEIGHT = 0.25;

/** How late this process's event loop has been lately: a moving mean over short intervals, so that one pause is no trend. */
export class LoopDelay {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  #timer: NodeJS.Timeout | undefined;
  #ms = 0;

  start(): void {
    this.#histogram.enable();
    this.#timer = setInterval(() => this.#sample(), INTERVAL_MS).unref();
  }

  /** milliseconds, >= 0 */
  get ms(): number {
    return this.#ms;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#histogram.disable();
  }

  #sample(): void {
    const { count, mean } = this.#histogram;
    const ms = count === 0 ? 0 : Math.max(0, mean / 1e6 - RESOLUTION_MS);
    this.#ms += (ms - this.#ms) * WEIGHT;
    this.#histogram.reset();
  }
}
