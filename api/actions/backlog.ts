import type { Logger } from '../../common/logger.ts';
import type { Queues } from '../../common/queues.ts';
import { Refresher } from '../../common/refresher.ts';

const EVERY_MS = 250;
const RETRY_MS = 1000;
/** Fewer are done in a moment, however long they have waited: a store was away, or a worker has just died. */
const FEW = 100;

/**
 * How long completions wait in line for a worker. It is asked of Redis, where the line is: an API process knows neither those
 * that others have put there, nor those whose callers have gone with a 202.
 */
export class Backlog {
  readonly #refresher: Refresher;
  #ms = 0;

  constructor(queues: Queues, log: Logger) {
    this.#refresher = new Refresher({
      what: 'backlog',
      read: async () => {
        this.#ms = waitOf(await queues.backlog(queues.partitions));
      },
      everyMs: EVERY_MS,
      retryMs: RETRY_MS,
      log,
    });
  }

  start(): Promise<void> {
    return this.#refresher.now();
  }

  /** milliseconds; 0 while there is no backlog to speak of */
  get ms(): number {
    return this.#ms;
  }

  stop(): void {
    this.#refresher.stop();
  }
}

/** How long the oldest has waited in most of the lines: a single one that stands still is a dead worker's, and no overload. */
function waitOf(lines: readonly { waiting: number; oldestMs: number }[]): number {
  if (lines.reduce((total, { waiting }) => total + waiting, 0) < FEW) return 0;
  const ages = lines.map(({ oldestMs }) => oldestMs).sort((a, b) => a - b);
  return ages[Math.floor((ages.length - 1) / 2)] ?? 0;
}
