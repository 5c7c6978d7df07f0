import { spanOf, type Period, type Span } from '../periods.ts';

/** The board that every completion counts on, besides its own. */
export const GLOBAL_BOARD = 'global';

/** One board in one period: the unit that has standings. Times are milliseconds since the epoch. */
export interface BoardRef extends Span {
  readonly leaderboard: string;
  readonly period: Period;
}

/** The board and period that an instant falls into. */
export const boardAt = (leaderboard: string, period: Period, at: number): BoardRef => ({
  leaderboard,
  period,
  ...spanOf(period, at),
});

/** Names a board in maps and logs. */
export const boardId = (board: BoardRef): string => `${board.leaderboard}:${board.period}:${board.startsAt}`;

/** One line of a board. */
export interface Entry {
  readonly userId: string;
  readonly score: number;
  /** When the score was reached, milliseconds since the epoch: the tie-breaker, and the entry's `updatedAt`. */
  readonly reachedAt: number;
}

/** Consecutive entries, the first of which has rank `offset + 1`. */
export interface BoardPage {
  readonly version: number;
  readonly total: number;
  readonly updatedAt: number;
  readonly offset: number;
  readonly entries: readonly Entry[];
}

/** Where one user stands. `rank` is 1-based; null without a score, or when the user is hidden. */
interface Standing {
  readonly userId: string;
  readonly rank: number | null;
  readonly score: number;
  /** ms since the epoch; 0 without a score */
  readonly reachedAt: number;
}

export interface StandingsAnswer {
  readonly version: number;
  readonly total: number;
  readonly standings: readonly Standing[];
  /** Entries around the one user asked for, that user included; empty unless asked for. */
  readonly neighbors: { readonly offset: number; readonly entries: readonly Entry[] };
}

/** What reads boards: Redis, and Postgres when Redis is away. Both pass the same contract test. */
export interface BoardSource {
  /** @param offset >= 0 @param limit 0 to 100; 0 for the figures only */
  page(board: BoardRef, offset: number, limit: number): Promise<BoardPage>;
  /** The entries that follow on one in the total order, wherever that one stands by now. @param limit 1 to 100 */
  after(board: BoardRef, last: Entry, limit: number): Promise<BoardPage>;
  /** @param userIds 1 to 100 @param neighbors entries on each side, 0 to 25; only for a single user */
  standings(board: BoardRef, userIds: readonly string[], neighbors: number): Promise<StandingsAnswer>;
}

/** The board is not (wholly) in Redis, and is being made again from Postgres. */
export class BoardIncomplete extends Error {
  override readonly name = 'BoardIncomplete';
}

/**
 * The share of a board's users that stand below a user, in percent, one decimal: 100 for a board's only user, 0 for the
 * last of several.
 */
export function percentile(rank: number | null, total: number): number | null {
  if (rank === null) return null;
  return total <= 1 ? 100 : Math.round(((total - rank) / (total - 1)) * 1000) / 10;
}

const iso = (ms: number): string => new Date(ms).toISOString();

/** A board's figures as clients get them, from the API and live alike; `all` has neither start nor end. */
export const presentFigures = (
  board: BoardRef,
  { version, total, updatedAt }: Pick<BoardPage, 'version' | 'total' | 'updatedAt'>,
) => ({
  leaderboard: board.leaderboard,
  period: board.period,
  periodStart: board.endsAt === null ? null : iso(board.startsAt),
  periodEnd: board.endsAt === null ? null : iso(board.endsAt),
  version,
  total,
  updatedAt: updatedAt === 0 ? null : iso(updatedAt),
});
