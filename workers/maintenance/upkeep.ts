import type { Database } from '../../common/postgres.ts';
import { finishedJobsKept, type Queues } from '../../common/queues.ts';
import { expireLogins } from './expire-logins.ts';

/** Completions are accepted until the token's last moment, and may be applied a while later. */
const EXPIRE_AFTER_S = 60;
/** Nothing older can still be open, unless this job did not run for so long. */
const EXPIRE_LOOKBACK_S = 7 * 86_400;
/** Marks open actions past their expiry, and drops logins that nobody can use. @returns how many actions and refresh tokens */
export async function expire(
  db: Database,
  outsideTokenSeconds: number,
): Promise<{ actions: number; refreshTokens: number }> {
  const actions = await db.raw<{ rowCount: number }>(
    `update actions set status = 'expired'
     where status = 'started' and expires_at < now() - make_interval(secs => ?) and started_at > now() - make_interval(secs => ?)`,
    [EXPIRE_AFTER_S, EXPIRE_LOOKBACK_S],
  );
  const refreshTokens = await expireLogins(db, outsideTokenSeconds);
  return { actions: actions.rowCount, refreshTokens };
}

/** How long the first answer of an administrator's write is kept. */
const KEYS_KEPT_DAYS = 30;

/** Forgets idempotency keys that nobody sends again. @returns how many */
export async function forgetKeys(db: Database): Promise<number> {
  return db('idempotency_keys')
    .where('created_at', '<', db.raw('now() - make_interval(days => ?)', [KEYS_KEPT_DAYS]))
    .delete();
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
