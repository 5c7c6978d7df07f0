import { periods, type Period } from '../periods.ts';
import type { BoardRef } from './board.ts';
import type { ScoreChange } from './board-index.ts';

/** A user's score on a board: user id, score, reached at (ms), hidden. */
export type IndexRow = readonly [userId: string, score: number, reachedAt: number, hidden: boolean];

/** A board's rows, as `index_rows` returns them: leaderboard, period, starts at, ends at (ms), rows. */
type BoardRows = readonly [string, Period, number, number | null, readonly IndexRow[]];

/** Rows of Postgres by the board that they belong to. */
export interface IndexedBoard {
  readonly board: BoardRef;
  readonly rows: readonly IndexRow[];
}

const isRow = (row: unknown): row is IndexRow =>
  Array.isArray(row) &&
  row.length === 4 &&
  typeof row[0] === 'string' &&
  typeof row[1] === 'number' &&
  row[1] >= 0 &&
  typeof row[2] === 'number' &&
  typeof row[3] === 'boolean';

const isBoardRows = (value: unknown): value is BoardRows =>
  Array.isArray(value) &&
  value.length === 5 &&
  typeof value[0] === 'string' &&
  periods.includes(value[1] as Period) &&
  typeof value[2] === 'number' &&
  (value[3] === null || typeof value[3] === 'number') &&
  Array.isArray(value[4]) &&
  value[4].every(isRow);

/**
 * Checks what `index_rows` returned. By hand: there are eight rows a completion, and a schema would cost more than the
 * rest of their way.
 *
 * @throws when it is anything else
 */
export function parseIndexRows(value: unknown): IndexedBoard[] {
  if (!Array.isArray(value) || !value.every(isBoardRows))
    throw new Error(
      'Postgres returned rows of another form than this version reads. Migrate, and use one version.',
    );
  return value.map(([leaderboard, period, startsAt, endsAt, rows]) => ({
    board: { leaderboard, period, startsAt, endsAt },
    rows,
  }));
}

/** What Redis must hold for a row: hidden users are on no board. */
export const changeOfRow = ([userId, score, reachedAt, hidden]: IndexRow): ScoreChange => ({
  userId,
  score,
  reachedAt: hidden ? null : reachedAt,
});
