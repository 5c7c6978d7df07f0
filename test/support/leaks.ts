import { eventually } from './eventually.ts';
import { openConnections } from './postgres.ts';
import type { TestRedis } from './redis.ts';

/** Closing is not instantaneous on the server's side; longer than this is a leak. */
const patience = { timeoutMs: 2_000 };

/**
 * @throws if anybody is still connected to the database or the Redis: some pool, client, queue, worker or
 *   adapter was not closed. The message lists all of them.
 */
export async function assertNoLeaks(
  databaseUrl: string | undefined,
  redis: TestRedis | undefined,
): Promise<void> {
  redis?.thaw();
  const results = await Promise.allSettled([
    databaseUrl !== undefined && noneOpen('Postgres', () => postgresSessions(databaseUrl)),
    // One that the test has taken down has no clients.
    redis?.pid !== undefined && noneOpen('Redis', () => redis.clients()),
  ]);
  const failures = results.flatMap((result) => (result.status === 'rejected' ? [String(result.reason)] : []));
  if (failures.length === 0) return;
  throw new Error(`Connections are left open when all after hooks have run.\n${failures.join('\n')}`);
}

async function noneOpen(store: string, list: () => Promise<string[]>): Promise<void> {
  await eventually(async () => {
    const open = await list();
    if (open.length > 0) throw new Error(`${open.length} to ${store}:\n  ${open.join('\n  ')}`);
  }, patience);
}

async function postgresSessions(databaseUrl: string): Promise<string[]> {
  const open = await openConnections(databaseUrl);
  return open.map(({ application, state, query }) => `${application || 'unnamed'}, ${state}: ${query}`);
}
