import type { Logger } from '../../common/logger.ts';
import type { Database } from '../../common/postgres.ts';
import type { Queues } from '../../common/queues.ts';
import type { UserDirectory } from '../../common/users/user-directory.ts';

export interface ErasureDeps {
  readonly db: Database;
  readonly directory: UserDirectory;
  readonly queues: Queues;
  readonly log: Logger;
}

/**
 * Erases what tells who a user is, see `erase_user`. The user leaves the live boards, and nobody can sign in as the user again.
 * Once it is committed it holds: the outbox brings it to Redis, and what follows here only makes it known sooner.
 */
export async function eraseUser(userId: string, { db, directory, queues, log }: ErasureDeps): Promise<void> {
  await db.raw('select erase_user(?)', [userId]);
  const told = await Promise.allSettled([directory.changed(userId), queues.requestMaintenance('erase', {})]);
  for (const outcome of told) {
    if (outcome.status === 'rejected')
      log.warn({ err: outcome.reason as unknown }, 'an erasure is told later');
  }
}
