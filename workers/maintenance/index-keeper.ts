import type { BoardIndex } from '../../common/board/board-index.ts';
import { boardId, type BoardRef } from '../../common/board/board.ts';
import type { Catalog } from '../../common/catalog.ts';
import type { Logger } from '../../common/logger.ts';
import type { Queues } from '../../common/queues.ts';
import { isRedisAway } from '../../common/redis.ts';

const EVERY_MS = 500;
/** The boards of a period are laid out this long before it begins, so that its first reader finds them. */
const AHEAD_MS = 3_600_000;

/** The boards that must be in Redis now. */
export function expectedBoards(catalog: Catalog): BoardRef[] {
  const now = Date.now();
  const boards = [...catalog.boardsAt(now), ...catalog.boardsAt(now + AHEAD_MS)];
  return [...new Map(boards.map((board) => [boardId(board), board])).values()];
}

export interface KeeperDeps {
  readonly catalog: Catalog;
  readonly index: BoardIndex;
  readonly queues: Queues;
  readonly log: Logger;
  /** what else must be put back when Redis has lost its data */
  readonly onLoss: () => Promise<void>;
}

/**
 * Watches, a few times a second, that Redis holds every board, and has those that it lost made again; and that it is the
 * server whose boards were last found right. One that was restarted, or took the place of another, may lack the last
 * writes: versions are raised at once, and everything is held against Postgres. This is how Laurel notices a loss without
 * being told.
 */
export class IndexKeeper {
  readonly #deps: KeeperDeps;
  /** whether Redis has lost its data, and not been given all of it back yet */
  #lost = false;
  #timer: NodeJS.Timeout | undefined;
  #look: Promise<void> = Promise.resolve();
  /** the server run for which versions have been raised */
  #renewed: string | undefined;

  constructor(deps: KeeperDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#look = this.#look.then(() => this.#lookOnce());
    }, EVERY_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#look;
  }

  async #lookOnce(): Promise<void> {
    const { catalog, index, queues, log } = this.#deps;
    try {
      const boards = expectedBoards(catalog);
      if (boards.length === 0) return;
      // Not seen from the boards: a rebuild may be faster than these looks.
      if (await index.wasEmptied()) this.#lost = true;
      await this.#lookForRestart(boards);
      if (this.#lost) await this.#restore();
      this.#lost = false;
      if ((await index.incomplete(boards)).length === 0) return;
      await queues.requestMaintenance('rebuild', {});
    } catch (error) {
      if (!isRedisAway(error)) log.error({ err: error }, 'looking after the boards failed');
    }
  }

  async #lookForRestart(boards: readonly BoardRef[]): Promise<void> {
    const { index, queues, log } = this.#deps;
    const [run, reconciled] = await Promise.all([index.serverRun(), index.reconciledRun()]);
    if (run === reconciled) return;
    if (run !== this.#renewed) {
      log.warn(
        { run },
        'Redis is another server than before, or was restarted; holding its boards against Postgres',
      );
      await index.renew(boards);
      this.#lost = true;
      this.#renewed = run;
    }
    await queues.requestMaintenance('reconcile', { trigger: 'restart' });
  }

  /** Puts back what is kept in Redis only: how queues are to run, what repeats, and completions that were accepted. */
  async #restore(): Promise<void> {
    const { index, queues, onLoss } = this.#deps;
    await index.beginRestoring();
    await queues.serialize();
    await onLoss();
    await queues.requestMaintenance('sweep', { all: true });
    await index.endRestoring();
  }
}
