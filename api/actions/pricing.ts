import { visibleBoard, type Viewer } from '../../common/board/visibility.ts';
import type { ActionType, Catalog, Leaderboard } from '../../common/catalog.ts';
import { Problem } from '../http/problem.ts';

/** What an action is worth here and now, by the server's own rules. @throws UNKNOWN_ACTION_TYPE, UNKNOWN_LEADERBOARD, INVALID_REQUEST */
export function priceOf(
  catalog: Catalog,
  typeKey: string,
  board: string,
  difficulty: unknown,
  viewer: Viewer,
): { type: ActionType; leaderboard: Leaderboard; points: number; difficulty: string | null } {
  const type = catalog.actionType(typeKey);
  if (!type) throw new Problem('UNKNOWN_ACTION_TYPE', `There is no action type ${JSON.stringify(typeKey)}.`);
  const leaderboard = visibleBoard(catalog, board, viewer);
  const now = Date.now();
  if (!leaderboard || (type.leaderboards && !type.leaderboards.includes(board))) {
    throw new Problem(
      'UNKNOWN_LEADERBOARD',
      `There is no leaderboard ${JSON.stringify(board)} for this action. GET /leaderboards lists them.`,
    );
  }
  if ((leaderboard.opensAt ?? 0) > now || (leaderboard.closesAt ?? Infinity) <= now) {
    throw new Problem('UNKNOWN_LEADERBOARD', `The leaderboard ${JSON.stringify(board)} is not open now.`);
  }
  if (difficulty === undefined) return { type, leaderboard, points: type.points, difficulty: null };
  if (typeof difficulty !== 'string' || !Object.hasOwn(type.difficulties, difficulty)) {
    const known = Object.keys(type.difficulties).join(', ') || 'none';
    throw new Problem('INVALID_REQUEST', `metadata.difficulty must be one of: ${known}.`, {
      errors: [{ path: 'metadata.difficulty', message: `must be one of: ${known}` }],
    });
  }
  const multiplier = type.difficulties[difficulty] ?? 1;
  return {
    type,
    leaderboard,
    points: Math.min(Math.round(type.points * multiplier), leaderboard.maxPointsPerUpdate),
    difficulty,
  };
}
