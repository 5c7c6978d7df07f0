import type { Board, BoardUpdate, EntryChange, LeaderboardFrame } from '../types.ts';

/** How many frames are held back while a snapshot is on its way. More than that is a gap again anyway. */
const HELD_MAX = 64;

/**
 * After this many answers in a row that are older than what we have, it is the service that went back (its
 * counter was lost and began anew), not the answers that were late.
 */
const OLDER_MAX = 3;

/** What a watcher knows of a board. Never changed in place. */
export interface BoardState {
  readonly board: Board | null;
  /** A snapshot has been asked for; frames wait for it in `held`. */
  readonly syncing: boolean;
  readonly held: readonly LeaderboardFrame[];
  /** Older snapshots or frames in a row. */
  readonly older: number;
}

/** What came of a message: the next state, what to tell listeners, and whether to ask for a snapshot. */
export interface Step {
  readonly state: BoardState;
  readonly updates: readonly BoardUpdate[];
  readonly resync: boolean;
}

/** Before anything has been heard. */
export const NOTHING: BoardState = { board: null, syncing: true, held: [], older: 0 };

/**
 * A pushed step. Applied only on top of exactly the version that it follows; an older one is ignored; one
 * that follows a version we have not seen is held, and a snapshot asked for, once.
 */
export function receiveFrame(state: BoardState, frame: LeaderboardFrame): Step {
  const { board } = state;
  if (board && frame.version <= board.version && !state.syncing) {
    const older = frame.version < board.version ? state.older + 1 : state.older;
    const lost = older >= OLDER_MAX;
    return { state: { ...state, older, syncing: lost }, updates: [], resync: lost };
  }
  if (!board || state.syncing) {
    const held = [...state.held, frame].slice(-HELD_MAX);
    return { state: { ...state, held }, updates: [], resync: false };
  }
  if (frame.previousVersion !== board.version) {
    return { state: { ...state, syncing: true, held: [frame] }, updates: [], resync: true };
  }
  // A service of an earlier version does not say how many there are; never fewer than are shown.
  const { total = Math.max(board.total, frame.entries.length) } = frame;
  const next: Board = {
    ...board,
    version: frame.version,
    updatedAt: frame.timestamp,
    total,
    entries: frame.entries,
  };
  return {
    state: { board: next, syncing: false, held: [], older: 0 },
    updates: [{ board: next, changes: frame.changes, cause: 'update' }],
    resync: false,
  };
}

/** The whole board, by whichever transport. Frames that were held back and follow it are applied on top. */
export function receiveSnapshot(state: BoardState, snapshot: Board): Step {
  const { board } = state;
  if (board && snapshot.version < board.version && !isLaterPeriod(board, snapshot)) {
    const older = state.older + 1;
    if (older < OLDER_MAX) return { state: { ...state, older }, updates: [], resync: state.syncing };
  }
  const updates: BoardUpdate[] = [];
  if (snapshot !== board) {
    updates.push({ board: snapshot, changes: diffBoards(board, snapshot), cause: 'snapshot' });
  }
  let next: BoardState = { board: snapshot, syncing: false, held: [], older: 0 };
  let resync = false;
  for (const frame of state.held) {
    if (frame.version <= snapshot.version) continue;
    const step = receiveFrame(next, frame);
    next = step.state;
    updates.push(...step.updates);
    resync ||= step.resync;
  }
  return { state: next, updates, resync };
}

/** The connection was lost: what comes next begins with a snapshot, and frames held for it are of no use. */
export function disconnected(state: BoardState): BoardState {
  return { ...state, syncing: true, held: [] };
}

/** Who scored between two boards. Nothing to compare with, or another period: nobody. */
export function diffBoards(before: Board | null, after: Board): EntryChange[] {
  if (!before || before.periodStart !== after.periodStart) return [];
  const old = new Map(before.entries.map((entry) => [entry.userId, entry]));
  return after.entries.flatMap((entry) => {
    const was = old.get(entry.userId);
    if (was && was.score === entry.score) return [];
    const { userId, username, score, rank } = entry;
    // What a newcomer to the top had before is not known; its whole score would be a lie.
    const delta = was ? score - was.score : 0;
    return [{ userId, username, oldRank: was?.rank ?? null, newRank: rank, score, delta }];
  });
}

function isLaterPeriod(board: Board, snapshot: Board): boolean {
  return (
    board.periodStart !== null &&
    snapshot.periodStart !== null &&
    Date.parse(snapshot.periodStart) > Date.parse(board.periodStart)
  );
}
