import type { BoardEvent } from '../../common/events.ts';
import type { Period } from '../../common/periods.ts';
import { BoardFeed, type FeedDeps, type Frame } from './board-feed.ts';

/** A board that clients watch: a leaderboard in its present period. */
export interface Watched {
  readonly leaderboard: string;
  readonly period: Period;
}

export const watchedId = ({ leaderboard, period }: Watched): string => `${leaderboard}:${period}`;

/** The feeds of the boards that somebody watches at this instance. */
export class BoardFeeds {
  readonly #deps: Omit<FeedDeps, 'emit'>;
  readonly #emit: (board: Watched, frame: Frame) => void;
  readonly #feeds = new Map<string, BoardFeed>();

  constructor(deps: Omit<FeedDeps, 'emit'>, emit: (board: Watched, frame: Frame) => void) {
    this.#deps = deps;
    this.#emit = emit;
  }

  /** The feed of a board, begun when nobody watched it before. */
  of(board: Watched): BoardFeed {
    const id = watchedId(board);
    const known = this.#feeds.get(id);
    if (known) return known;
    const feed = new BoardFeed(board.leaderboard, board.period, {
      ...this.#deps,
      emit: (frame) => this.#emit(board, frame),
    });
    this.#feeds.set(id, feed);
    return feed;
  }

  take(event: BoardEvent): void {
    this.#feeds.get(watchedId(event))?.take(event);
  }

  /** Ends the feed of a board that nobody watches any more. */
  drop(board: Watched): void {
    const feed = this.#feeds.get(watchedId(board));
    if (!feed || feed.joining) return;
    feed.close();
    this.#feeds.delete(watchedId(board));
  }

  resync(): void {
    for (const feed of this.#feeds.values()) feed.resync();
  }

  close(): void {
    for (const feed of this.#feeds.values()) feed.close();
    this.#feeds.clear();
  }
}
