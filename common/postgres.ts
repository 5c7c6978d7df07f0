import knex, { type Knex } from 'knex';
import type pg from 'pg';
import type { Config } from './config.ts';
import { PostgresConnector } from './postgres-connection.ts';

export type Database = Knex;

/** Longest wait for a connection from the pool, milliseconds. knex's own default, a minute, outlives every caller. */
const ACQUIRE_TIMEOUT_MS = 2000;
const STATEMENT_TIMEOUT_MS = 10_000;

type Connection = pg.Client & { __knex__disposed?: unknown; readyForQuery?: boolean };

/**
 * A pool of Postgres connections. Nothing is opened before the first query.
 *
 * @param tier shown as `application_name` in `pg_stat_activity`
 * @throws ConfigError when DATABASE_URL cannot be read
 */
export function createDatabase(
  config: Pick<Config, 'DATABASE_URL' | 'DATABASE_POOL_MAX'>,
  tier: string,
  options: { statementTimeoutMs?: number; max?: number } = {},
): Database {
  const connector = new PostgresConnector(config.DATABASE_URL ?? 'postgres://', {
    applicationName: `laurel-${tier}`,
    connectTimeoutMs: ACQUIRE_TIMEOUT_MS,
    statementTimeoutMs: options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS,
  });
  const db = knex({
    client: 'pg',
    version: '14', // it would be asked for otherwise, by a query of its own
    // What fails is told to the caller; knex would print it once more, and not as a log line.
    log: { warn: () => undefined, error: () => undefined },
    connection: {}, // without one there would be no pool; how one is made is said below
    acquireConnectionTimeout: ACQUIRE_TIMEOUT_MS,
    pool: {
      min: 0,
      max: options.max ?? config.DATABASE_POOL_MAX,
      // One whose statement was given up on this side is still busy with it.
      validate: ({ readyForQuery }: Connection) => readyForQuery !== false,
    },
  });
  // knex knows neither several hosts nor poolers: it asks for a connection here.
  (db.client as { acquireRawConnection: () => Promise<pg.Client> }).acquireRawConnection = async () => {
    const connection: Connection = await connector.connect();
    const dispose = (error?: Error): void => {
      connection.__knex__disposed = error ?? true;
    };
    connection.on('error', dispose);
    connection.on('end', () => dispose());
    return connection;
  };
  return db;
}

/** A pool as migrations need it: a statement may take any time, and one connection holds their lock. */
export async function withMigrationPool<T>(
  databaseUrl: string,
  use: (db: Database) => Promise<T>,
): Promise<T> {
  const config = { DATABASE_URL: databaseUrl, DATABASE_POOL_MAX: 2 };
  const db = createDatabase(config, 'migrate', { statementTimeoutMs: 0 });
  try {
    return await use(db);
  } finally {
    await db.destroy();
  }
}

/** SQLSTATE classes and codes of faults that pass by themselves: connection, resources, shutdown, deadlock, timeout. */
const transientStates = /^(08|53|57P|40001|40P01|55P03|57014|25006)/;
const transientSockets = /ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH/;
const transientMessages =
  /Timeout acquiring a connection|Connection terminated|timeout expired|Query read timeout|only reads: it is a replica|Connection ended|Client has encountered a connection error|pool is (draining|destroyed)|Unable to acquire a connection/i;

/** Whether the same query may well succeed later: Postgres is away, starting, or too busy, and the query is not at fault. */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (error instanceof AggregateError) return error.errors.some(isTransient);
  return transientStates.test(code) || transientSockets.test(code) || transientMessages.test(error.message);
}

/** Whether Postgres cannot hold what it was given (SQLSTATE classes 22 and 23): the same query can never succeed. */
export const isDataFault = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' && /^2[23]/.test(error.code);
