import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from '../common/redis.ts';
import pg from 'pg';
import { createDatabase, withMigrationPool, type Database } from '../common/postgres.ts';
import { seedCatalog } from '../common/seed.ts';
import { startStack } from '../dev/stack.ts';
import { migrate } from '../migrations/index.ts';
import { parentOf } from './measure/processes.ts';

/** The stores of a benchmark: migrated, seeded, and set to be durable. */
export interface BenchStores {
  readonly databaseUrl: string;
  readonly redisUrl: string;
  readonly pids: { readonly postgres: number; readonly redis: number };
  stop(): Promise<void>;
}

/** Starts stores of the benchmark's own, in a folder that vanishes with them. */
export async function startStores(): Promise<BenchStores> {
  const dataDir = join(tmpdir(), `laurel-bench-${process.pid}-${Date.now()}`);
  const stack = await startStack({ dataDir });
  await prepare(stack.databaseUrl);
  return {
    ...(await storesAt(stack.databaseUrl, stack.redisUrl)),
    stop: async () => {
      await stack.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** Stores that run already, and are left running. */
export async function storesAt(databaseUrl: string, redisUrl: string): Promise<BenchStores> {
  return {
    databaseUrl,
    redisUrl,
    pids: { postgres: await postmasterOf(databaseUrl), redis: await redisPid(redisUrl) },
    stop: () => Promise.resolve(),
  };
}

export async function prepare(databaseUrl: string): Promise<void> {
  await withMigrationPool(databaseUrl, migrate);
  await withDatabase(databaseUrl, (db) => seedCatalog(db));
}

/** @param options no time limit: a benchmark loads millions of rows in one statement */
export async function withDatabase<T>(databaseUrl: string, use: (db: Database) => Promise<T>): Promise<T> {
  const db = createDatabase({ DATABASE_URL: databaseUrl, DATABASE_POOL_MAX: 4 }, 'bench', {
    statementTimeoutMs: 0,
  });
  try {
    return await use(db);
  } finally {
    await db.destroy();
  }
}

export async function withRedis<T>(redisUrl: string, use: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(redisUrl, { maxRetriesPerRequest: 0 });
  try {
    return await use(redis);
  } finally {
    redis.disconnect();
  }
}

/** Puts both stores into the same state before each measurement: nothing left to write back or to clean. */
export async function settleStores(stores: BenchStores): Promise<void> {
  const client = new pg.Client({ connectionString: stores.databaseUrl });
  await client.connect();
  try {
    await client.query('vacuum analyze');
    await client.query('checkpoint');
  } finally {
    await client.end();
  }
}

async function postmasterOf(databaseUrl: string): Promise<number> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    return parentOf(rows[0]?.pid ?? 0) ?? 0;
  } finally {
    await client.end();
  }
}

const redisPid = (redisUrl: string): Promise<number> =>
  withRedis(redisUrl, async (redis) => Number(/process_id:(\d+)/.exec(await redis.info('server'))?.[1] ?? 0));
