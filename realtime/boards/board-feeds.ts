import type { BoardEvent } from '../../common/events.ts';
import type { Period } from '../../common/periods.ts';
import { BoardFeed, type FeedDeps, type Frame } from './board-feed.ts';

/** A board that clients watch: a leaderboard in its present period. */
export interface Watched {
  readonly leaderboard: string;
  readonly period: Period;
}

export const watchedId = ({ leaderboard, period }: Watched): string => `${leaderboard}:${period}`;

/**
 * How often watched boards are compared with Redis although nobody said that they changed, milliseconds: it bounds what
 * an event that was lost without a trace can do. One small read a board.
 */
const LOOK_AGAIN_MS = 2000;

/** The feeds of the boards that somebody watches at this instance. */
export class BoardFeeds {
  readonly #deps: Omit<FeedDeps, 'emit'>;
  readonly #emit: (board: Watched, frame: Frame) => Promise<void>;
  readonly #isWatched: (board: Watched) => boolean;
  readonly #feeds = new Map<string, BoardFeed>();
  readonly #look: NodeJS.Timeout;

  /** @param isWatched whether somebody at this instance watches the board */
  constructor(
    deps: Omit<FeedDeps, 'emit'>,
    emit: (board: Watched, frame: Frame) => Promise<void>,
    isWatched: (board: Watched) => boolean,
  ) {
    this.#deps = deps;
    this.#emit = emit;
    this.#isWatched = isWatched;
    this.#look = setInterval(() => this.resync(), LOOK_AGAIN_MS).unref();
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

  /** A user was renamed, or has another picture. */
  renamed(userId: string): void {
    for (const feed of this.#feeds.values()) feed.renamed(userId);
  }

  /** A leaderboard may send again. */
  unmuted(): void {
    for (const feed of this.#feeds.values()) feed.unmuted();
  }

  /** Ends the feed of a board if nobody watches it any more. */
  release(board: Watched): void {
    const feed = this.#feeds.get(watchedId(board));
    if (!feed || feed.joining || this.#isWatched(board)) return;
    feed.close();
    this.#feeds.delete(watchedId(board));
  }

  resync(): void {
    for (const feed of this.#feeds.values()) feed.resync();
  }

  close(): void {
    clearInterval(this.#look);
    for (const feed of this.#feeds.values()) feed.close();
    this.#feeds.clear();
  }
}
