import type { LaurelError } from '../errors.ts';
import type { Board, LeaderboardFrame, Period } from '../types.ts';

/** What a feed tells the watcher that it works for. */
export interface FeedSink {
  /** Connected. Null: the board that we have is current. */
  joined(snapshot: Board | null): void;
  frame(frame: LeaderboardFrame): void;
  /** A try failed, or the connection broke. The feed goes on trying. */
  lost(error: LaurelError): void;
  /** The set number of tries have failed in a row. The feed goes on trying, seldom. */
  exhausted(): void;
  /** There is no point in trying: no such board, not allowed. */
  refused(error: LaurelError): void;
  /** The version on which to build, null where a snapshot is wanted. */
  version(): number | null;
}

/** One way to follow one board. */
export interface Feed {
  /** Asks for a snapshot anew. */
  resync(): void;
  stop(): void;
}

/** Which board. */
export interface BoardKey {
  leaderboard: string;
  period: Period;
}

/** Answers that no later try will change. */
const FINAL_CODES = new Set([
  'LEADERBOARD_NOT_FOUND',
  'UNKNOWN_LEADERBOARD',
  'INVALID_REQUEST',
  'UNAUTHENTICATED',
  'FORBIDDEN',
  'USER_BANNED',
]);

/** Whether a refusal by the service is final for this board. */
export function isFinal(code: string): boolean {
  return FINAL_CODES.has(code);
}

/** Tries before the next transport is taken, and how often a better one is tried again. */
export interface WatchTuning {
  /** Default 5. */
  attempts: number;
  /** Default 30,000 ms, doubling up to 5 minutes while it fails. */
  upgradeMs: number;
  /** Default 1,500 ms. */
  pollMs: number;
}

/** The wait before the n-th seldom try (ms, n from 0). */
export function upgradeDelayMs(n: number, tuning: WatchTuning): number {
  return Math.min(tuning.upgradeMs * 2 ** n, Math.max(tuning.upgradeMs, 300_000));
}
