import { LRUCache } from 'lru-cache';

const WINDOW_MS = 60_000;
/** Lines a minute that one address causes of one event. */
const LINES_AN_ADDRESS = 5;
/** Lines a minute of one event, from all addresses: a flood may come from as many as it likes. */
const LINES_AN_EVENT = 300;
const ADDRESSES = 10_000;

interface Window {
  readonly event: string;
  /** undefined: of all addresses together */
  readonly address: string | undefined;
  readonly until: number;
  lines: number;
  left: number;
}

/** What was left out of the log in a minute. */
export type LeftOut = Pick<Window, 'event' | 'address' | 'left'>;

/**
 * Keeps a flood of refusals from becoming a flood of log lines: of each event the first few lines a minute and address are
 * written, and then one line that says how many there were.
 */
export class LineSampler {
  readonly #windows: LRUCache<string, Window>;
  readonly #summarize: (leftOut: LeftOut) => void;
  readonly #timer: NodeJS.Timeout;

  constructor(summarize: (leftOut: LeftOut) => void) {
    this.#summarize = summarize;
    this.#windows = new LRUCache({ max: ADDRESSES, dispose: (window) => this.#close(window) });
    this.#timer = setInterval(() => this.#closeEnded(), WINDOW_MS / 6);
    this.#timer.unref();
  }

  /** Whether a line may be written. @param now ms since the epoch */
  allows(event: string, address: string, now = Date.now()): boolean {
    const own = this.#window(event, address, now);
    if (own.lines >= LINES_AN_ADDRESS) {
      own.left += 1;
      return false;
    }
    own.lines += 1;
    const all = this.#window(event, undefined, now);
    if (all.lines >= LINES_AN_EVENT) {
      all.left += 1;
      return false;
    }
    all.lines += 1;
    return true;
  }

  #window(event: string, address: string | undefined, now: number): Window {
    const key = address === undefined ? event : `${event} ${address}`;
    const known = this.#windows.get(key);
    if (known && known.until > now) return known;
    const window = { event, address, until: now + WINDOW_MS, lines: 0, left: 0 };
    // Setting it disposes of the one before, which is summed up.
    this.#windows.set(key, window);
    return window;
  }

  #closeEnded(): void {
    const now = Date.now();
    for (const [key, { until }] of this.#windows.entries()) if (until <= now) this.#windows.delete(key);
  }

  #close({ event, address, left }: Window): void {
    if (left > 0) this.#summarize({ event, address, left });
  }

  /** Sums up what is open. */
  stop(): void {
    clearInterval(this.#timer);
    this.#windows.clear();
  }
}
