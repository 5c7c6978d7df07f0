import type { Logger } from '../../common/logger.ts';
import type { Database } from '../../common/postgres.ts';
import { parsePartitionJob, partitionOf, type CorrectionJob, type Queues } from '../../common/queues.ts';

/** A correction that was applied in the ordinary way is gone from the table by then, seconds. */
const SWEEP_AFTER_S = 5;
const ROWS_A_RUN = 1000;

interface QueuedRow {
  readonly transaction_id: string;
  readonly payload: unknown;
}

function jobIn({ payload }: QueuedRow): CorrectionJob | string {
  try {
    const job = parsePartitionJob(payload);
    return job.kind === 'correction' ? job : `a job of the kind ${job.kind} stands in its place`;
  } catch (error) {
    return error instanceof Error ? error.message : 'unreadable payload';
  }
}

/**
 * Enqueues corrections that administrators were promised and that Redis has forgotten, oldest first. Those that it holds stay where
 * they are. One that no worker takes is set aside with the reason, and stops none of the others.
 *
 * @param all those of the last seconds too, which a healthy Redis is about to apply
 * @returns how many were looked after
 */
export async function sweepCorrections(
  { db, queues, log }: { readonly db: Database; readonly queues: Queues; readonly log: Logger },
  all = false,
): Promise<number> {
  const rows = (await db('queued_corrections')
    .whereNull('dead_at')
    .where('accepted_at', '<', db.raw('now() - make_interval(secs => ?)', [all ? 0 : SWEEP_AFTER_S]))
    .orderBy('accepted_at')
    .limit(ROWS_A_RUN)
    .select('transaction_id', 'payload')) as QueuedRow[];
  for (const row of rows) {
    const job = jobIn(row);
    const fault = typeof job === 'string' ? job : await failureOf(job, queues);
    if (fault !== undefined) {
      await db('queued_corrections')
        .where({ transaction_id: row.transaction_id })
        .update({ dead_at: db.fn.now(), dead_reason: fault });
      log.error({ transaction: row.transaction_id, reason: fault }, 'a correction is set aside');
    } else if (typeof job !== 'string') await queues.enqueueCorrection(job);
  }
  return rows.length;
}

/** Why the correction's job has failed for good; undefined when it has not. An operator may retry it in Bull Board. */
async function failureOf(
  { userId, transactionId }: CorrectionJob,
  queues: Queues,
): Promise<string | undefined> {
  const job = await queues.partitions[partitionOf(userId, queues.partitions.length)]?.getJob(transactionId);
  return job && (await job.isFailed()) ? job.failedReason : undefined;
}
