import type { Logger } from '../../common/logger.ts';
import type { Queues } from '../../common/queues.ts';
import { Refresher } from '../../common/refresher.ts';

const LOOK_EVERY_MS = 5000;

/**
 * Which queues stand still because somebody paused them. Laurel never does, and Bull Board may not: it was done by hand in Redis, and
 * completions are accepted all the while and not counted.
 */
export class PausedQueues {
  readonly #refresher: Refresher;
  #names: readonly string[] = [];

  constructor(queues: Queues, log: Logger) {
    this.#refresher = new Refresher({
      what: 'paused queues',
      read: async () => {
        const paused = await Promise.all(queues.all.map((queue) => queue.isPaused()));
        this.#names = queues.all.filter((_, i) => paused[i]).map(({ name }) => name);
      },
      everyMs: LOOK_EVERY_MS,
      retryMs: LOOK_EVERY_MS,
      log,
    });
  }

  start(): Promise<void> {
    return this.#refresher.now();
  }

  stop(): void {
    this.#refresher.stop();
  }

  get names(): readonly string[] {
    return this.#names;
  }

  get warnings(): readonly string[] {
    return this.#names.map(
      (name) =>
        `The queue ${name} is paused: its jobs are accepted and not done. See docs/operations.md, “A queue is paused”.`,
    );
  }
}
