import { UnrecoverableError, WaitingError, type Job, type Queue } from 'bullmq';
import { nameOf } from '../../common/actions.ts';
import type { BoardChanges, BoardIndex } from '../../common/board/board-index.ts';
import { boardId } from '../../common/board/board.ts';
import { changeOfRow } from '../../common/board/index-rows.ts';
import type { Catalog } from '../../common/catalog.ts';
import type { JobSignatures } from '../../common/job-signatures.ts';
import type { Logger } from '../../common/logger.ts';
import { Interrupted, untilDone } from '../../common/patience.ts';
import { isDataFault, isTransient } from '../../common/postgres.ts';
import { isRedisAway, loadScript, scriptCaller, type Redis } from '../../common/redis.ts';
import {
  parsePartitionJob,
  type CompletionJob,
  type CorrectionJob,
  type PartitionJob,
} from '../../common/queues.ts';
import type { GroupCommit, Replies } from './group-commit.ts';
import type { Ledger } from './ledger.ts';
import type { Publisher } from './publisher.ts';
import type { SetAside, UnfitReason } from './set-aside.ts';

const advance = loadScript(new URL('lua/advance.lua', import.meta.url), 2);

/** What Bull Board shows of a finished job. */
export interface PartitionResult {
  readonly outcome: string;
}

export interface PartitionDeps {
  readonly queue: Queue<PartitionJob>;
  readonly redis: Redis;
  /** shared by the partitions of this process */
  readonly commits: GroupCommit;
  readonly ledger: Ledger;
  readonly publisher: Publisher;
  readonly index: BoardIndex;
  readonly catalog: Catalog;
  readonly signatures: JobSignatures;
  readonly aside: SetAside;
  /** most completions that a job takes along, itself included */
  readonly batchMax: number;
  readonly log: Logger;
  /** ends waiting for an absent store; the job then goes back to the head of its line */
  readonly signal: AbortSignal;
}

/** For how long a job keeps the slot while completions come in behind it, milliseconds: a turn of BullMQ's costs as much as several of them. */
const HOLD_MS = 1000;

/** A job that is processed, and the token with which BullMQ has locked it for this worker. */
interface Slot {
  readonly jobId: string;
  readonly token: string;
}

const isStoreAway = (error: unknown): boolean => isTransient(error) || isRedisAway(error);

/**
 * Processes one partition: one job at a time, over all processes. The job that holds the slot takes along the
 * completions that wait behind it, has all of them applied, in order, in one transaction, and takes them off the line. If the
 * process dies in between, the next one finds in Postgres what has been done.
 *
 * An absent store is waited out inside the job, so that no later completion of a user overtakes an earlier one. Only a
 * job that can never succeed fails.
 */
export function createPartitionProcessor(deps: PartitionDeps) {
  const {
    queue,
    redis,
    commits,
    ledger,
    publisher,
    index,
    catalog,
    signatures,
    aside,
    batchMax,
    log,
    signal,
  } = deps;
  const scripts = scriptCaller(redis, [advance]);

  const untilStoresAnswer = <T>(work: () => Promise<T>, isPassing: (error: unknown) => boolean): Promise<T> =>
    untilDone(work, isPassing, signal, (err) => log.warn({ err, queue: queue.name }, 'waiting for a store'));

  /**
   * Takes what was done along off the line.
   *
   * @returns the payloads of what waits next, oldest first, `most` of them at most; none when the slot is lost
   * @throws when Redis is away
   */
  const advanceLine = async (slot: Slot, done: readonly string[], most: number): Promise<(string | null)[]> =>
    (await scripts.call(
      advance,
      ...[queue.toKey('wait'), queue.toKey('')],
      ...[most, slot.jobId, slot.token, ...done],
    )) as (string | null)[];

  /** The completions at the head of a line, up to the first that is another thing. */
  function completionsIn(waiting: readonly (string | null)[]): CompletionJob[] {
    const jobs: CompletionJob[] = [];
    for (const data of waiting) {
      try {
        const payload = parsePartitionJob(JSON.parse(data ?? 'null'));
        if (payload.kind !== 'completion' || !signatures.verify(payload)) break;
        jobs.push(payload);
      } catch {
        break; // it fails by itself when its turn comes
      }
    }
    return jobs;
  }

  /**
   * Applies a completion and, again and again, those that have come in behind it. What cannot be applied along, or taken off the
   * line, gets its own turn: there it is judged, or found to be done.
   */
  async function complete(first: CompletionJob, slot: Slot): Promise<PartitionResult> {
    let done: string[] = [];
    let followers: readonly CompletionJob[] = [];
    const takeAlong = async (): Promise<readonly CompletionJob[]> => {
      followers = [];
      if (batchMax === 1) return followers;
      const waiting = await advanceLine(slot, done, batchMax - 1).catch(() => undefined);
      if (waiting) [done, followers] = [[], completionsIn(waiting)];
      return followers;
    };
    /** @returns what became of them, and whether any of those behind were applied */
    const applyLine = async (holder?: CompletionJob): Promise<{ replies: Replies; goesOn: boolean }> => {
      const replies = await commits.apply({ first: holder, takeAlong });
      const applied = followers.filter((job) => replies.has(nameOf(job)));
      done.push(...applied.map(({ actionId }) => actionId));
      return { replies, goesOn: applied.length > 0 };
    };

    const leavesAt = performance.now() + HOLD_MS;
    const { replies, goesOn } = await applyLine(first);
    let more = goesOn;
    while (more && performance.now() < leavesAt && !signal.aborted) {
      more = await applyLine().then(
        (line) => line.goesOn,
        (err: unknown) => {
          if (!(err instanceof Interrupted)) log.warn({ err, queue: queue.name }, 'not taken along');
          return false;
        },
      );
    }
    if (done.length > 0) await advanceLine(slot, done, 0).catch(() => undefined);
    return { outcome: replies.get(nameOf(first))?.outcome ?? 'unknown' };
  }

  async function resync(userId: string): Promise<PartitionResult> {
    const indexed = await untilStoresAnswer(() => ledger.rowsOf(userId), isTransient);
    const boards = new Map<string, BoardChanges>();
    // A board on which the user has no row must not show the user.
    for (const board of catalog.boardsAt(Date.now()))
      boards.set(boardId(board), { board, steps: [{ userId, score: 0, reachedAt: null }] });
    for (const { board, rows } of indexed)
      boards.set(boardId(board), { board, steps: rows.map(changeOfRow) });
    await untilStoresAnswer(() => index.apply([...boards.values()], { overwrite: true }), isStoreAway);
    return { outcome: 'resynced' };
  }

  async function correct(job: CorrectionJob): Promise<PartitionResult> {
    const applied = await untilStoresAnswer(() => ledger.correct(job), isTransient);
    await untilStoresAnswer(() => publisher.publishCorrection(job, applied), isStoreAway);
    return { outcome: applied.outcome };
  }

  async function perform(job: PartitionJob, slot: Slot): Promise<PartitionResult> {
    if (job.kind === 'completion') return complete(job, slot);
    return job.kind === 'correction' ? correct(job) : resync(job.userId);
  }

  /** What a job asks for; or why it is not taken. */
  function read(data: unknown): PartitionJob | { readonly unfit: UnfitReason; readonly error: Error } {
    let payload: PartitionJob;
    try {
      payload = parsePartitionJob(data);
    } catch (error) {
      return { unfit: 'unreadable', error: error instanceof Error ? error : new Error('unreadable payload') };
    }
    // A repair writes what Postgres says, for any caller.
    if (payload.kind === 'resync' || signatures.verify(payload)) return payload;
    return { unfit: 'unsigned', error: new Error('The job does not bear the API’s signature.') };
  }

  return async function process(job: Job<PartitionJob>, token?: string): Promise<PartitionResult> {
    const payload = read(job.data);
    try {
      if ('unfit' in payload) {
        await untilStoresAnswer(() => aside.stranger(job.id ?? '', job.data, payload.unfit), isTransient);
        throw new UnrecoverableError(payload.error.message);
      }
      return await perform(payload, { jobId: job.id ?? '', token: token ?? '' }).catch(
        async (error: unknown) => {
          if (payload.kind === 'completion' && isDataFault(error))
            await untilStoresAnswer(() => aside.job(payload, error), isTransient);
          throw error;
        },
      );
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      await job.moveToWait(token);
      throw new WaitingError();
    }
  };
}
