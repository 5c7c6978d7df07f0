import type { Job } from 'bullmq';
import type { Database } from '../../common/postgres.ts';
import { partitionOf, type PartitionJob, type Queues } from '../../common/queues.ts';

const ACTIONS_A_STEP = 5000;
/** Jobs that are looked at in one portion. */
const JOBS_A_LOOK = 500;

/**
 * Finishes erasures: clears what is left of a long history, and what requests that were under way have written since, in
 * Postgres and in the queues. An erasure is looked after for 5 minutes, and until nothing of the user waits to be applied.
 *
 * @returns how many erasures were looked after
 */
export async function finishErasures(db: Database, queues: Queues): Promise<number> {
  const open = await db<{ user_id: string }>('erasures').orderBy('at').select('user_id');
  for (const { user_id: userId } of open) {
    let more = true;
    while (more) {
      const { rows } = await db.raw<{ rows: { more: boolean }[] }>('select finish_erasure(?, ?) as more', [
        userId,
        ACTIONS_A_STEP,
      ]);
      more = rows[0]?.more ?? false;
    }
  }
  if (open.length > 0) await clearJobs(queues, new Set(open.map((row) => row.user_id)));
  return open.length;
}

/** Takes ended jobs of erased users away, and address, user agent and metadata out of those that wait. */
async function clearJobs(queues: Queues, erased: ReadonlySet<string>): Promise<void> {
  const partitions = new Set([...erased].map((userId) => partitionOf(userId, queues.partitions.length)));
  for (const partition of partitions) {
    const queue = queues.partitions[partition];
    if (!queue) continue;
    for (const state of ['completed', 'failed', 'waiting', 'delayed', 'prioritized'] as const) {
      const ended = state === 'completed' || state === 'failed';
      for (let from = 0; ;) {
        const jobs = await queue.getJobs([state], from, from + JOBS_A_LOOK - 1, true);
        let removed = 0;
        for (const job of jobs) {
          if (!erased.has(job.data.userId)) continue;
          // A job may end, or be taken off the line by another's turn, while this looks at it.
          if (ended)
            removed += await job.remove().then(
              () => 1,
              () => 0,
            );
          else await clearWaiting(job);
        }
        from += jobs.length - removed;
        if (jobs.length < JOBS_A_LOOK) break;
      }
    }
  }
}

async function clearWaiting(job: Job<PartitionJob>): Promise<void> {
  const { data } = job;
  if (data.kind !== 'completion') return;
  const { metadata, ...rest } = data;
  if (data.ip === null && data.userAgent === null && metadata === undefined) return;
  // None of these is signed: the job stays good.
  await job.updateData({ ...rest, ip: null, userAgent: null }).catch(() => undefined);
}
