import type { Database } from '../postgres.ts';
import { redisBreaker } from '../redis.ts';
import {
  BoardIncomplete,
  type BoardPage,
  type BoardRef,
  type BoardSource,
  type Entry,
  type StandingsAnswer,
} from './board.ts';
import { BoardTable } from './board-table.ts';

/**
 * To count a board of a million takes Postgres a tenth of a second of a core, and while it answers all reads, it would be
 * asked to by each of them.
 */
const FIGURES_MAX_AGE_MS = 2000;

/** Reads boards from Redis, and from Postgres while Redis is away, frozen, or being filled again. */
export class BoardReader implements BoardSource {
  readonly #index: BoardSource;
  readonly #table: BoardSource;
  readonly #breaker = redisBreaker();
  readonly #onFallback: () => void;

  constructor(index: BoardSource, db: Database, onFallback: () => void = () => undefined) {
    this.#index = index;
    this.#table = new BoardTable(db, { figuresMaxAgeMs: FIGURES_MAX_AGE_MS });
    this.#onFallback = onFallback;
  }

  page(board: BoardRef, offset: number, limit: number): Promise<BoardPage> {
    return this.#read((source) => source.page(board, offset, limit));
  }

  after(board: BoardRef, last: Entry, limit: number): Promise<BoardPage> {
    return this.#read((source) => source.after(board, last, limit));
  }

  standings(board: BoardRef, userIds: readonly string[], neighbors: number): Promise<StandingsAnswer> {
    return this.#read((source) => source.standings(board, userIds, neighbors));
  }

  async #read<T>(read: (source: BoardSource) => Promise<T>): Promise<T> {
    try {
      const answer = await this.#breaker.execute(async () => {
        try {
          return { value: await read(this.#index) };
        } catch (error) {
          // Redis answered: it is not at fault.
          if (error instanceof BoardIncomplete) return undefined;
          throw error;
        }
      });
      if (answer) return answer.value;
    } catch {
      // Redis did not answer: Postgres does, or its error is the one to tell.
    }
    this.#onFallback();
    return read(this.#table);
  }
}
