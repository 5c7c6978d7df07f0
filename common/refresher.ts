import type { Logger } from './logger.ts';

/** Reads something again and again: when told that it changed, from time to time anyway, and soon after a failure. */
export class Refresher {
  readonly #options: {
    what: string;
    read: () => Promise<void>;
    everyMs: number;
    retryMs: number;
    log: Logger;
  };
  #timer: NodeJS.Timeout | undefined;
  #away = false;
  #stopped = false;

  /** @param options.what named in the log, once, when it cannot be read */
  constructor(options: {
    what: string;
    read: () => Promise<void>;
    everyMs: number;
    retryMs: number;
    log: Logger;
  }) {
    this.#options = options;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Reads now. A failure is logged, and made good later. */
  async now(): Promise<void> {
    const { what, read, everyMs, retryMs, log } = this.#options;
    let next = everyMs;
    try {
      await read();
      this.#away = false;
    } catch (error) {
      if (!this.#stopped && !this.#away)
        log.warn({ err: error, what }, 'could not be read; what was known holds');
      this.#away = true;
      next = retryMs;
    }
    clearTimeout(this.#timer);
    if (!this.#stopped) this.#timer = setTimeout(() => void this.now(), next).unref();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }
}
