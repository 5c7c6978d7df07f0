import { GLOBAL_BOARD } from '../../common/board/board.ts';
import { visibleBoard, type Viewer } from '../../common/board/visibility.ts';
import type { ActionType, Catalog, Leaderboard } from '../../common/catalog.ts';
import { Problem } from '../http/problem.ts';

/** What an action is worth, by the server's own rules; whether its board is open now, admission tells. @throws UNKNOWN_ACTION_TYPE, UNKNOWN_LEADERBOARD, INVALID_REQUEST */
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
  if (!leaderboard || (type.leaderboards && !type.leaderboards.includes(board))) {
    throw new Problem(
      'UNKNOWN_LEADERBOARD',
      `There is no leaderboard ${JSON.stringify(board)} for this action. GET /leaderboards lists them.`,
    );
  }
  const clipped = (points: number): number => Math.min(points, leaderboard.maxPointsPerUpdate);
  if (difficulty === undefined) return { type, leaderboard, points: clipped(type.points), difficulty: null };
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
    points: clipped(Math.round(type.points * multiplier)),
    difficulty,
  };
}

/**
 * Prices that a leaderboard does not pay in full, as sentences for an administrator.
 *
 * @param changed the action type or leaderboard that was changed: prices that do not concern it are left out
 */
export function clippedPrices(
  catalog: Catalog,
  changed: { readonly type: string } | { readonly leaderboard: string },
): string[] {
  return catalog.actionTypes.flatMap((type) => {
    if ('type' in changed && type.key !== changed.type) return [];
    const prices = [
      ['', type.points] as const,
      ...Object.entries(type.difficulties).map(
        ([name, multiplier]) => [`, ${name}`, Math.round(type.points * multiplier)] as const,
      ),
    ];
    return catalog.leaderboards
      .filter(({ key }) => !type.leaderboards || type.leaderboards.includes(key) || key === GLOBAL_BOARD)
      .filter(({ key }) => !('leaderboard' in changed) || key === changed.leaderboard)
      .flatMap(({ key, maxPointsPerUpdate: most }) =>
        prices
          .filter(([, points]) => points > most)
          .map(
            ([suffix, points]) =>
              `${type.key}${suffix} is worth ${points} points, and the leaderboard ${key} pays at most ${most} an update.`,
          ),
      );
  });
}
