import { redisBreaker } from '../redis.ts';
import {
  BoardIncomplete,
  type BoardPage,
  type BoardRef,
  type BoardSource,
  type Entry,
  type StandingsAnswer,
} from './board.ts';

/** Reads boards from Redis, and from Postgres while Redis is away, frozen, or being filled again. */
export class BoardReader implements BoardSource {
  readonly #index: BoardSource;
  readonly #table: BoardSource;
  readonly #breaker = redisBreaker();
  readonly #onFallback: () => void;

  constructor(index: BoardSource, table: BoardSource, onFallback: () => void = () => undefined) {
    this.#index = index;
    this.#table = table;
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
