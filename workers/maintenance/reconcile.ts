import type { BoardIndex, IndexedEntry } from '../../common/board/board-index.ts';
import type { BoardTable } from '../../common/board/board-table.ts';
import { boardId, type BoardRef, type Entry } from '../../common/board/board.ts';
import { newId } from '../../common/ids.ts';
import type { Logger } from '../../common/logger.ts';
import { delay } from '../../common/patience.ts';
import type { MaintenanceJobs, Queues } from '../../common/queues.ts';
import { reconcileProfiles, type ReconcileProfilesDeps } from './reconcile-profiles.ts';

/** What a reconciliation found. */
export interface Reconciliation {
  readonly id: string;
  readonly boards: number;
  /** rows of Postgres held against Redis */
  readonly compared: number;
  /** users whose entries were missing, wrong or too many, or whose profile was wrong; each is being repaired */
  readonly drifted: number;
}

const CHUNK_ROWS = 2000;
/** A chunk takes the stores and this process some 20 ms: while players wait for them, three quarters of the time are theirs. */
const REST_MS = 60;
/** A difference may be a change under way between Postgres and Redis: it counts only if it is still there after this. */
const SETTLE_MS = 250;
const SETTLE_TRIES = 4;
const RECHECK_USERS = 100;

export interface ReconcileDeps extends ReconcileProfilesDeps {
  readonly index: BoardIndex;
  readonly table: BoardTable;
  readonly queues: Queues;
  readonly log: Logger;
  /** whether this process is applying completions just now */
  readonly isBusy: () => boolean;
}

/**
 * Holds every row of the boards in Postgres, and every profile in Redis, against the other store. Profiles that differ are put
 * right here. Of the boards it has each user that differs repaired in the user's own
 * line, so that a repair cannot race with play. Memory is that of one chunk of each side. Players go first: between chunks it
 * rests while completions are being applied.
 *
 * @param jobId of the job that asked for it
 */
export async function reconcile(
  boards: readonly BoardRef[],
  trigger: MaintenanceJobs['reconcile']['trigger'],
  deps: ReconcileDeps,
  jobId?: string,
): Promise<Reconciliation> {
  const { db, queues, index, log } = deps;
  const id = newId();
  await db('reconciliations').insert({ id, trigger, job_id: jobId ?? null });
  try {
    let compared = 0;
    const drifted = new Set<string>();
    for (const board of boards) {
      const found = await compareBoard(board, deps);
      compared += found.compared;
      const strays = await removeStrays(board, found.extras, index);
      for (const userId of [...found.drifted, ...strays]) {
        // At once: the repair of a user on one board is that on all, and what comes after finds it done.
        if (!drifted.has(userId)) await queues.enqueueResync(userId);
        drifted.add(userId);
      }
      if (found.drifted.length + strays.length > 0) {
        log.warn(
          { board: boardId(board), drifted: found.drifted.length, strays: strays.length },
          'Redis differed from Postgres',
        );
      }
    }
    const profiles = await reconcileProfiles(deps);
    if (profiles.length > 0)
      log.warn({ drifted: profiles.length }, 'profiles in Redis differed from Postgres');
    for (const userId of profiles) drifted.add(userId);
    await db('reconciliations')
      .where({ id })
      .update({ finished_at: new Date(), compared, drifted: drifted.size });
    log.info(
      { reconciliation: id, trigger, boards: boards.length, compared, drifted: drifted.size },
      'reconciled',
    );
    return { id, boards: boards.length, compared, drifted: drifted.size };
  } catch (error) {
    const message = error instanceof Error ? error.message : 'unknown';
    await db('reconciliations')
      .where({ id })
      .update({ finished_at: new Date(), error: message })
      .catch(() => undefined);
    throw error;
  }
}

const sameEntry = (a: Entry, b: Entry): boolean =>
  a.userId === b.userId && a.score === b.score && a.reachedAt === b.reachedAt;

const sameOrNone = (a: Entry | undefined, b: Entry | undefined): boolean =>
  a && b ? sameEntry(a, b) : a === b;

/** Negative when a stands before b in the total order. */
function order(a: Entry, b: Entry): number {
  return (
    b.score - a.score || a.reachedAt - b.reachedAt || (a.userId < b.userId ? -1 : a.userId > b.userId ? 1 : 0)
  );
}

/** Walks both sides in the total order, as one merges two sorted lists: what stands on one side only differs. */
async function compareBoard(
  board: BoardRef,
  deps: ReconcileDeps,
): Promise<{ compared: number; drifted: string[]; extras: Entry[] }> {
  const truth = new Cursor<Entry>(restfully(deps.table.rows(board, CHUNK_ROWS), deps));
  const copy = new Cursor<IndexedEntry>(deps.index.rows(board, CHUNK_ROWS));
  const suspects = new Set<string>();
  const extras: Entry[] = [];
  let compared = 0;
  let [row, entry] = [await truth.next(), await copy.next()];
  while (row ?? entry) {
    if (entry && !entry.named) {
      suspects.add(entry.userId);
      extras.push(entry);
      entry = await copy.next();
    } else if (row && entry && sameEntry(row, entry)) {
      [row, entry] = [truth.buffered() ?? (await truth.next()), copy.buffered() ?? (await copy.next())];
      compared += 1;
    } else if (row && (!entry || order(row, entry) < 0)) {
      suspects.add(row.userId);
      row = await truth.next();
      compared += 1;
    } else if (entry) {
      suspects.add(entry.userId);
      extras.push(entry);
      entry = await copy.next();
    }
  }
  const drifted = await settle(board, [...suspects], deps);
  // A board that was lost meanwhile is made again as a whole: its users need no repair one by one.
  if ((await deps.index.incomplete([board])).length > 0) return { compared, drifted: [], extras: [] };
  return { compared, drifted, extras };
}

/**
 * Takes off entries that are not the one which the user's own record names. What the walk saw twice because the user moved
 * meanwhile is the user's own by now, or gone, and stays untouched.
 */
async function removeStrays(board: BoardRef, extras: readonly Entry[], index: BoardIndex): Promise<string[]> {
  const removed: string[] = [];
  for (let i = 0; i < extras.length; i += CHUNK_ROWS) {
    const chunk = extras.slice(i, i + CHUNK_ROWS);
    const [applied] = await index.apply([
      { board, steps: chunk.map(({ userId, reachedAt }) => ({ userId, score: 'stray', reachedAt })) },
    ]);
    applied?.ranks.forEach(({ previous }, j) => {
      const userId = chunk[j]?.userId;
      if (previous !== null && userId !== undefined) removed.push(userId);
    });
  }
  return removed;
}

/**
 * Those of the suspects whose entry is wrong and stays as it is. One that changes is being played on: what it differs by is
 * under way.
 */
async function settle(board: BoardRef, suspects: string[], deps: ReconcileDeps): Promise<string[]> {
  let left = new Map<string, Entry | undefined>();
  for (let attempt = 0; attempt < SETTLE_TRIES; attempt += 1) {
    const users = attempt === 0 ? suspects : [...left.keys()];
    if (users.length === 0) break;
    if (attempt > 0) await delay(SETTLE_MS, deps.signal);
    const before = left;
    left = new Map();
    for (let i = 0; i < users.length; i += RECHECK_USERS) {
      const some = users.slice(i, i + RECHECK_USERS);
      const [truth, copy] = await Promise.all([
        deps.table.entriesOf(board, some),
        deps.index.entriesOf(board, some),
      ]);
      const isLast = attempt === SETTLE_TRIES - 1;
      for (const userId of some) {
        const [a, b] = [truth.get(userId), copy.get(userId)];
        if (sameOrNone(a, b)) continue;
        if (!isLast || sameOrNone(b, before.get(userId))) left.set(userId, b);
      }
    }
  }
  return [...left.keys()];
}

/** The same chunks, each after a rest if there is something better to do. */
async function* restfully<T>(
  chunks: AsyncIterable<T[]>,
  { isBusy, signal }: Pick<ReconcileDeps, 'isBusy' | 'signal'>,
): AsyncGenerator<T[]> {
  for await (const chunk of chunks) {
    if (isBusy()) await delay(REST_MS, signal);
    yield chunk;
  }
}

/** Reads an async sequence of chunks one item at a time. */
class Cursor<T> {
  readonly #chunks: AsyncIterator<T[]>;
  #chunk: T[] = [];
  #place = 0;

  constructor(chunks: AsyncIterable<T[]>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** The next item if it is in memory: saves a million promises. */
  buffered(): T | undefined {
    const entry = this.#chunk[this.#place];
    if (entry) this.#place += 1;
    return entry;
  }

  async next(): Promise<T | undefined> {
    for (;;) {
      const entry = this.buffered();
      if (entry) return entry;
      const { value, done } = (await this.#chunks.next()) as IteratorResult<T[], undefined>;
      if (done) return undefined;
      this.#chunk = value;
      this.#place = 0;
    }
  }
}
