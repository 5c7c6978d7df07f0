import type { Catalog, Leaderboard } from '../catalog.ts';
import type { Role } from '../users/profiles.ts';

/** Who looks at boards; nobody for those who are not signed in. */
export type Viewer = { readonly role: Role } | undefined;

/** The leaderboard of a key as a viewer may know of it: one that the viewer may not see is as if it did not exist. */
export function visibleBoard(
  catalog: Pick<Catalog, 'leaderboard'>,
  key: string,
  viewer: Viewer,
): Leaderboard | undefined {
  const board = catalog.leaderboard(key);
  return board && mayView(board, viewer) ? board : undefined;
}

/** Whether a viewer may see a leaderboard: everybody a public one, administrators all. */
export const mayView = (board: Leaderboard, viewer: Viewer): boolean =>
  board.visibility === 'public' || viewer?.role === 'admin';
