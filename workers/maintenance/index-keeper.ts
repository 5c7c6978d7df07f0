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

/**
 * Watches, a few times a second, that Redis holds every board, and has those that it lost made again. This is how Laurel
 * notices an emptied Redis without being told.
 */
export class IndexKeeper {
  readonly #deps: {
    catalog: Catalog;
    index: BoardIndex;
    queues: Queues;
    log: Logger;
    onLoss: () => Promise<void>;
  };
  #timer: NodeJS.Timeout | undefined;
  #look: Promise<void> = Promise.resolve();

  /** @param deps.onLoss what else must be put back when Redis has lost its data */
  constructor(deps: {
    catalog: Catalog;
    index: BoardIndex;
    queues: Queues;
    log: Logger;
    onLoss: () => Promise<void>;
  }) {
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
    const { catalog, index, queues, log, onLoss } = this.#deps;
    try {
      const boards = expectedBoards(catalog);
      if (boards.length === 0 || (await index.incomplete(boards)).length === 0) return;
      await onLoss();
      await queues.requestMaintenance('rebuild', {});
    } catch (error) {
      if (!isRedisAway(error)) log.error({ err: error }, 'looking after the boards failed');
    }
  }
}
