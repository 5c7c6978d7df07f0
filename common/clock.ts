import type { Logger } from './logger.ts';
import { Refresher } from './refresher.ts';
import type { Redis } from './redis.ts';

const EVERY_MS = 5000;
const RETRY_MS = 1000;
/** Beyond it an operator is told. Nothing of it matters up to a minute: scripts go by Redis's time, and the rest by this clock. */
const WARN_MS = 1000;

/** Redis's time, which stamps starts, completions and closings, as far as a process can know it without asking. */
export class Clock {
  readonly #refresher: Refresher;
  /** Redis's time less this process's, ms */
  #offsetMs = 0;

  constructor(redis: Redis, log: Logger) {
    this.#refresher = new Refresher({
      what: 'clock',
      read: async () => {
        const before = Date.now();
        const [seconds, microseconds] = (await redis.time()) as unknown as [string | number, string | number];
        const redisMs = Number(seconds) * 1000 + Number(microseconds) / 1000;
        // When between the two it was Redis's time, nobody knows: an estimate that may be right is kept.
        const [least, most] = [Math.floor(redisMs - Date.now()) - 1, Math.ceil(redisMs - before) + 1];
        this.#offsetMs = Math.min(Math.max(this.#offsetMs, least), most);
      },
      everyMs: EVERY_MS,
      retryMs: RETRY_MS,
      log,
    });
  }

  start(): Promise<void> {
    return this.#refresher.now();
  }

  stop(): void {
    this.#refresher.stop();
  }

  /** ms since the epoch */
  now(): number {
    return Date.now() + this.#offsetMs;
  }

  /** how far this process's own clock is ahead of Redis's, seconds */
  get skewSeconds(): number {
    return -this.#offsetMs / 1000;
  }

  /** What an operator should know. */
  get warnings(): string[] {
    if (Math.abs(this.#offsetMs) < WARN_MS) return [];
    const [far, way] = [Math.abs(this.skewSeconds).toFixed(1), this.skewSeconds > 0 ? 'ahead of' : 'behind'];
    return [`The clock of this process is ${far} s ${way} Redis’s. Check that NTP runs on both machines.`];
  }
}
