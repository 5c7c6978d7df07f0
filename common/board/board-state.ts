import type { BoardRef } from './board.ts';

/**
 * `open`: what is accepted now counts. `closing`: its end is past; what was accepted before it may still be applied.
 * `closed`: it was ended by an operator, or its leaderboard has closed. `archived`: its standings are frozen.
 */
export const boardStates = ['open', 'closing', 'closed', 'archived'] as const;
export type BoardState = (typeof boardStates)[number];

/** What Postgres says of the end of a board. Times are ms since the epoch. */
export interface Ending {
  /** from when on nothing counts */
  readonly closedAt: number | null;
  readonly archivedAt: number | null;
  /** when the frozen standings were last changed */
  readonly correctedAt: number | null;
}

export interface PresentedState {
  readonly state: BoardState;
  readonly closedAt: string | null;
  readonly correctedAt: string | null;
}

const iso = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

/** A period without any score counts as closed this long after its end, ms. */
const SETTLED_MS = 3_600_000;

/**
 * A board's state as clients get it.
 *
 * @param ending what Postgres says; undefined for nothing @param closesAt the end of its leaderboard, ms; null for none
 */
export function presentState(
  board: BoardRef,
  ending: Ending | undefined,
  closesAt: number | null,
  now: number,
): PresentedState {
  const { closedAt = null, archivedAt = null, correctedAt = null } = ending ?? {};
  const ends = [closedAt, board.endsAt, closesAt].filter((at) => at !== null);
  const end = ends.length > 0 ? Math.min(...ends) : Infinity;
  const isOver = end <= now;
  // Nothing was applied in it, and by now nothing is under way.
  const isEmpty = ending === undefined && board.endsAt !== null && board.endsAt + SETTLED_MS <= now;
  const byHand = closedAt !== null || (closesAt !== null && closesAt <= now);
  return {
    state: archivedAt !== null ? 'archived' : !isOver ? 'open' : byHand || isEmpty ? 'closed' : 'closing',
    closedAt: isOver ? iso(end) : null,
    correctedAt: iso(correctedAt),
  };
}
