import type { BoardIndex } from '../../common/board/board-index.ts';
import type { BoardTable } from '../../common/board/board-table.ts';
import type { BoardRef } from '../../common/board/board.ts';
import type { Logger } from '../../common/logger.ts';
import type { Database } from '../../common/postgres.ts';

const CHUNK_ROWS = 2000;

/** How far before a rebuild somebody may have been hidden, and still be among the rows it reads: longer than any query. */
const HIDDEN_MARGIN_MS = 60_000;

export interface RebuildDeps {
  readonly index: BoardIndex;
  readonly table: BoardTable;
  readonly db: Database;
  readonly log: Logger;
}

/**
 * Makes boards that Redis lost again from Postgres. Play goes on meanwhile: workers add their own changes, and the newer
 * of two states stays. Readers are served from Postgres until the board is complete. A board that Redis loses once more
 * meanwhile stays incomplete, and is begun anew by whoever looks next.
 *
 * @returns how many rows were copied
 */
export async function rebuildBoards(boards: readonly BoardRef[], deps: RebuildDeps): Promise<number> {
  let copied = 0;
  for (const board of boards) {
    const startedAt = Date.now();
    const rows = await rebuildBoard(board, startedAt, deps);
    if (rows === undefined) continue;
    copied += rows;
    deps.log.info(
      { leaderboard: board.leaderboard, period: board.period, rows, ms: Date.now() - startedAt },
      'board made again',
    );
  }
  return copied;
}

/** @returns how many rows were copied; undefined when somebody else makes the board, or it was lost again */
async function rebuildBoard(
  board: BoardRef,
  startedAt: number,
  { index, table, db }: RebuildDeps,
): Promise<number | undefined> {
  const attempt = await index.begin(board);
  if (attempt === undefined) return undefined;
  let rows = 0;
  for await (const chunk of table.rows(board, CHUNK_ROWS)) {
    if (!(await index.load(board, attempt, chunk))) return undefined;
    rows += chunk.length;
  }
  await removeHidden(board, startedAt - HIDDEN_MARGIN_MS, index, db);
  return (await index.markComplete(board, attempt)) ? rows : undefined;
}

/** Takes off those who were hidden while the rows were being read: a row that was read before could have come back. */
async function removeHidden(board: BoardRef, since: number, index: BoardIndex, db: Database): Promise<void> {
  const hidden = await db<{ id: string }>('users')
    .where('banned_at', '>=', new Date(since))
    .orWhere('erased_at', '>=', new Date(since))
    .select('id');
  if (hidden.length > 0) {
    await index.apply([[board, hidden.map(({ id }) => ({ userId: id, score: 0, reachedAt: null }))]]);
  }
}
