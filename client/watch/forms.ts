import { isRecord } from '../errors.ts';
import type { Board, LeaderboardFrame } from '../types.ts';

const hasTexts = (value: Record<string, unknown>, ...keys: string[]): boolean =>
  keys.every((key) => typeof value[key] === 'string');
const hasNumbers = (value: Record<string, unknown>, ...keys: string[]): boolean =>
  keys.every((key) => Number.isFinite(value[key]));
const areEntries = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.every(
    (entry: unknown) =>
      isRecord(entry) && hasTexts(entry, 'userId', 'username') && hasNumbers(entry, 'score'),
  );

/** Whether a message is a board: what is not would throw in the middle of a connection's event, and end the program. */
export function isBoard(value: unknown): value is Board {
  return (
    isRecord(value) &&
    hasTexts(value, 'leaderboard', 'period') &&
    hasNumbers(value, 'version', 'total') &&
    areEntries(value['entries'])
  );
}

/** Whether a message is a step from one version of a board to the next. */
export function isFrame(value: unknown): value is LeaderboardFrame {
  return (
    isRecord(value) &&
    hasTexts(value, 'leaderboard', 'period', 'timestamp') &&
    hasNumbers(value, 'version', 'previousVersion') &&
    (value['total'] === undefined || hasNumbers(value, 'total')) &&
    areEntries(value['entries']) &&
    Array.isArray(value['changes']) &&
    value['changes'].every(isRecord)
  );
}
