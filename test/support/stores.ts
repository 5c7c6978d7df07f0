import { before } from 'mocha';
import { assertNoLeaks } from './leaks.ts';
import { createDatabase, dropDatabase } from './postgres.ts';
import { createRedis, type TestRedis } from './redis.ts';

export interface Stores {
  /** A migrated, empty database. */
  readonly databaseUrl: string;
  readonly redis: TestRedis;
}

let leaked = false;

/** Whether any file of this run has left a connection open so far. */
export function anyLeak(): boolean {
  return leaked;
}

/**
 * Gives the calling `describe` a database and a Redis of its own, and fails it if it leaves a connection to
 * either open. Read the properties in hooks and tests, not while the file is being loaded.
 */
export function useStores(): Stores {
  let databaseUrl: string | undefined;
  let redis: TestRedis | undefined;

  before('create stores', async function () {
    // Registered only now, it runs after all the `after` hooks of the file, which close what they opened.
    this.test?.parent?.afterAll('remove stores, which nobody uses any more', async () => {
      // A leak leaves the stores to the end of the run: cutting the leaked connections now would raise
      // errors in whatever runs then, and hide the message.
      await assertNoLeaks(databaseUrl, redis).catch((error: unknown) => {
        leaked = true;
        throw error;
      });
      if (databaseUrl !== undefined) await dropDatabase(databaseUrl);
      await redis?.stop();
    });
    [databaseUrl, redis] = await Promise.all([createDatabase(), createRedis()]);
  });

  const ready = <T>(value: T | undefined): T => {
    if (value === undefined) throw new Error('The stores exist only once the before hooks have run.');
    return value;
  };
  return {
    get databaseUrl() {
      return ready(databaseUrl);
    },
    get redis() {
      return ready(redis);
    },
  };
}
