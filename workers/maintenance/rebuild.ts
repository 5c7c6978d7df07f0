import type { BoardIndex } from '../../common/board/board-index.ts';
import type { BoardTable } from '../../common/board/board-table.ts';
import type { BoardRef } from '../../common/board/board.ts';
import { newId } from '../../common/ids.ts';
import type { Logger } from '../../common/logger.ts';
import { delay, Interrupted, untilDone } from '../../common/patience.ts';
import type { Database } from '../../common/postgres.ts';
import { isRedisAway } from '../../common/redis.ts';

const CHUNK_ROWS = 5000;

/** How often to look whether a board that somebody else makes is complete. */
const LOOK_EVERY_MS = 100;

/** How far before a rebuild somebody may have been hidden, and still be among the rows it reads: longer than any query. */
const HIDDEN_MARGIN_MS = 60_000;

export interface RebuildDeps {
  readonly index: BoardIndex;
  readonly table: BoardTable;
  readonly db: Database;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/**
 * Makes boards that Redis lost again from Postgres. Play goes on meanwhile: workers add their own changes, and the newer
 * of two states stays. Readers are served from Postgres until the board is complete. Any number of processes may do this
 * at the same time: each takes a board that nobody makes yet, and all wait for the last one. A board that Redis loses once
 * more meanwhile is begun anew.
 *
 * @returns how many rows were copied
 * @throws {@link Interrupted} as soon as the signal says so
 */
export async function rebuildBoards(boards: readonly BoardRef[], deps: RebuildDeps): Promise<number> {
  const maker = newId();
  let copied = 0;
  let left = boards;
  for (;;) {
    for (const board of left) {
      const startedAt = Date.now();
      const rows = await rebuildBoard(board, maker, startedAt, deps);
      if (rows === undefined) continue;
      copied += rows;
      deps.log.info(
        { leaderboard: board.leaderboard, period: board.period, rows, ms: Date.now() - startedAt },
        'board made again',
      );
    }
    left = await untilDone(() => deps.index.incomplete(boards), isRedisAway, deps.signal);
    if (left.length === 0) return copied;
    await delay(LOOK_EVERY_MS, deps.signal);
  }
}

/** @returns how many rows were copied; undefined when somebody else makes the board, or it was lost again */
async function rebuildBoard(
  board: BoardRef,
  maker: string,
  startedAt: number,
  { index, table, db, signal }: RebuildDeps,
): Promise<number | undefined> {
  // A Redis that is slow to answer is waited for: to begin anew would take longer, and all of this may be repeated.
  const insist = <T>(work: () => Promise<T>): Promise<T> => untilDone(work, isRedisAway, signal);
  const run = await insist(() => index.serverRun());
  const attempt = await insist(() => index.begin(board, maker));
  if (attempt === undefined) return undefined;
  let rows = 0;
  // While Redis takes in one chunk, the next is made into commands, and the one behind it is read.
  let loading = Promise.resolve(true);
  for await (const chunk of table.rows(board, CHUNK_ROWS)) {
    if (signal.aborted) throw new Interrupted();
    const next = insist(() => index.load(board, attempt, chunk));
    next.catch(() => undefined); // told when it is waited for
    if (!(await loading)) return undefined;
    loading = next;
    rows += chunk.length;
  }
  if (!(await loading)) return undefined;
  await insist(() => removeHidden(board, startedAt - HIDDEN_MARGIN_MS, index, db));
  // One that was restarted meanwhile may lack what it was given last.
  const complete = await insist(
    async () => (await index.serverRun()) === run && index.markComplete(board, attempt),
  );
  return complete ? rows : undefined;
}

/** Takes off those who were hidden while the rows were being read: a row that was read before could have come back. */
async function removeHidden(board: BoardRef, since: number, index: BoardIndex, db: Database): Promise<void> {
  const hidden = await db<{ id: string }>('users')
    .where('banned_at', '>=', new Date(since))
    .orWhere('erased_at', '>=', new Date(since))
    .select('id');
  if (hidden.length > 0) {
    await index.apply([
      { board, steps: hidden.map(({ id }) => ({ userId: id, score: 0, reachedAt: null })) },
    ]);
  }
}
