import { UnrecoverableError, WaitingError, type Job, type Queue } from 'bullmq';
import type { BoardIndex, ScoreChange } from '../../common/board/board-index.ts';
import { boardId, type BoardRef } from '../../common/board/board.ts';
import { boardOfRow, changeOfRow } from '../../common/board/index-rows.ts';
import type { Catalog } from '../../common/catalog.ts';
import type { Logger } from '../../common/logger.ts';
import { Interrupted, untilDone } from '../../common/patience.ts';
import { isTransient } from '../../common/postgres.ts';
import { isRedisAway } from '../../common/redis.ts';
import {
  parsePartitionJob,
  type CompletionJob,
  type CorrectionJob,
  type PartitionJob,
} from '../../common/queues.ts';
import type { AppliedBatch, Ledger } from './ledger.ts';
import type { Publisher } from './publisher.ts';

/** What Bull Board shows of a finished job. */
export interface PartitionResult {
  readonly outcome: string;
}

export interface PartitionDeps {
  readonly queue: Queue<PartitionJob>;
  readonly ledger: Ledger;
  readonly publisher: Publisher;
  readonly index: BoardIndex;
  readonly catalog: Catalog;
  /** most completions in one transaction */
  readonly batchMax: number;
  readonly log: Logger;
  /** ends waiting for an absent store; the job then goes back to the head of its line */
  readonly signal: AbortSignal;
  readonly onBatch: (size: number) => void;
}

const isStoreAway = (error: unknown): boolean => isTransient(error) || isRedisAway(error);

/**
 * Processes one partition: one job at a time, over all processes. The job that holds the slot takes along the
 * completions that wait behind it and applies all of them, in order, in one transaction; when the turn of each comes, it
 * is done. If the process dies in between, whoever comes next finds in Postgres what has been done.
 *
 * An absent store is waited out inside the job, so that no later completion of a user overtakes an earlier one. Only a
 * job that can never succeed fails.
 */
export function createPartitionProcessor(deps: PartitionDeps) {
  const { queue, ledger, publisher, index, catalog, batchMax, log, signal, onBatch } = deps;
  /** Outcomes of jobs that were taken along and whose turn has not come. */
  const done = new Map<string, PartitionResult>();

  const untilStoresAnswer = <T>(work: () => Promise<T>, isPassing: (error: unknown) => boolean): Promise<T> =>
    untilDone(work, isPassing, signal, (err) => log.warn({ err, queue: queue.name }, 'waiting for a store'));

  /** The completions that wait right behind the one being processed, oldest first, up to the first that is another thing. */
  async function takeAlong(): Promise<CompletionJob[]> {
    const waiting = await queue.getJobs(['waiting'], 0, batchMax - 2, true).catch(() => []);
    const jobs: CompletionJob[] = [];
    for (const job of waiting) {
      try {
        const payload = parsePartitionJob((job as Job<PartitionJob> | undefined)?.data);
        if (payload.kind !== 'completion') break;
        jobs.push(payload);
      } catch {
        break; // it fails by itself when its turn comes
      }
    }
    return jobs;
  }

  /** Applies a batch; if one completion in it breaks the transaction, only the first, so that each is judged alone. */
  async function apply(jobs: readonly CompletionJob[]): Promise<AppliedBatch> {
    try {
      return await untilStoresAnswer(() => ledger.apply(jobs), isTransient);
    } catch (error) {
      if (jobs.length === 1 || error instanceof Interrupted) throw error;
      log.error({ err: error, count: jobs.length }, 'a batch failed; applying its first completion alone');
      return apply(jobs.slice(0, 1));
    }
  }

  async function complete(first: CompletionJob): Promise<PartitionResult> {
    const batch = await apply([first, ...(batchMax > 1 ? await takeAlong() : [])]);
    onBatch(batch.jobs.length);
    const replies = await untilStoresAnswer(() => publisher.publish(batch), isStoreAway);
    for (const { actionId, outcome } of replies) done.set(actionId, { outcome });
    return done.get(first.actionId) ?? { outcome: 'unknown' };
  }

  async function resync(userId: string): Promise<PartitionResult> {
    const rows = await untilStoresAnswer(() => ledger.rowsOf(userId), isTransient);
    const boards = new Map<string, [BoardRef, ScoreChange[]]>();
    // A board on which the user has no row must not show the user.
    for (const board of catalog.boardsAt(Date.now()))
      boards.set(boardId(board), [board, [{ userId, score: 0, reachedAt: null }]]);
    for (const row of rows) boards.set(boardId(boardOfRow(row)), [boardOfRow(row), [changeOfRow(row)]]);
    await untilStoresAnswer(() => index.apply([...boards.values()], { overwrite: true }), isStoreAway);
    return { outcome: 'resynced' };
  }

  async function correct(job: CorrectionJob): Promise<PartitionResult> {
    const applied = await untilStoresAnswer(() => ledger.correct(job), isTransient);
    await untilStoresAnswer(() => publisher.publishCorrection(job, applied), isStoreAway);
    return { outcome: applied.outcome };
  }

  async function perform(job: PartitionJob): Promise<PartitionResult> {
    if (job.kind === 'completion') return complete(job);
    return job.kind === 'correction' ? correct(job) : resync(job.userId);
  }

  return async function process(job: Job<PartitionJob>, token?: string): Promise<PartitionResult> {
    const known = done.get(job.id ?? '');
    if (known) {
      done.delete(job.id ?? '');
      return known;
    }
    done.clear(); // the line has moved past all that were taken along
    let payload: PartitionJob;
    try {
      payload = parsePartitionJob(job.data);
    } catch (error) {
      throw new UnrecoverableError(error instanceof Error ? error.message : 'unreadable payload');
    }
    try {
      const result = await perform(payload);
      done.delete(job.id ?? '');
      return result;
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      await job.moveToWait(token);
      throw new WaitingError();
    }
  };
}
