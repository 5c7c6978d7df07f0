import type { Database } from '../../common/postgres.ts';
import { finishedJobsKept, parsePartitionJob, type CompletionJob, type Queues } from '../../common/queues.ts';

/** A completion that was applied in the ordinary way is gone from the table by then. */
const SWEEP_AFTER_MS = 5_000;
const SWEEP_MOST = 5000;

/**
 * Enqueues completions that were accepted (202) and that Redis may have forgotten, oldest first. Those that it still
 * holds stay where they are: the action id is the job id.
 *
 * @param all those of the last seconds too, which a healthy Redis is about to apply
 * @returns how many were looked after
 */
export async function sweepQueued(db: Database, queues: Queues, all = false): Promise<number> {
  const rows = await db<{ payload: unknown; enqueued_at: Date; accepted_at: Date }>('queued_completions')
    .where('enqueued_at', '<', db.raw('now() - make_interval(secs => ?)', [all ? 0 : SWEEP_AFTER_MS / 1000]))
    .orderBy('accepted_at')
    .limit(SWEEP_MOST)
    .select('payload');
  for (const { payload } of rows) {
    const job = parsePartitionJob(payload);
    if (job.kind === 'completion') await queues.enqueueCompletion(job satisfies CompletionJob);
  }
  return rows.length;
}

/** Completions are accepted until the token's last moment, and may be applied a while later. */
const EXPIRE_AFTER_S = 60;
/** Nothing older can still be open, unless this job did not run for so long. */
const EXPIRE_LOOKBACK_S = 7 * 86_400;
/** A used or expired refresh token is kept for a while, so that its reuse is told from a stranger's. */
const REFRESH_KEPT_S = 86_400;

/** Marks open actions past their expiry, and drops refresh tokens that nobody can use. @returns how many of each */
export async function expire(db: Database): Promise<{ actions: number; refreshTokens: number }> {
  const actions = await db.raw<{ rowCount: number }>(
    `update actions set status = 'expired'
     where status = 'started' and expires_at < now() - make_interval(secs => ?) and started_at > now() - make_interval(secs => ?)`,
    [EXPIRE_AFTER_S, EXPIRE_LOOKBACK_S],
  );
  const tokens = await db.raw<{ rowCount: number }>(
    `delete from refresh_tokens where expires_at < now() - make_interval(secs => ?)`,
    [REFRESH_KEPT_S],
  );
  return { actions: actions.rowCount, refreshTokens: tokens.rowCount };
}

const OLD_JOBS_A_RUN = 10_000;

/**
 * Drops finished jobs that are older than they are kept. BullMQ looks at ages only when another job of the queue ends.
 *
 * @returns how many were dropped
 */
export async function dropOldJobs(queues: Queues): Promise<number> {
  let dropped = 0;
  for (const queue of queues.partitions) {
    for (const [state, seconds] of [
      ['completed', finishedJobsKept.completedS],
      ['failed', finishedJobsKept.failedS],
    ] as const)
      dropped += (await queue.clean(seconds * 1000, OLD_JOBS_A_RUN, state)).length;
  }
  return dropped;
}
