import knex, { type Knex } from 'knex';
import type { Config } from './config.ts';

export type Database = Knex;

/** Longest wait for a connection from the pool, milliseconds. knex's own default, a minute, outlives every caller. */
const ACQUIRE_TIMEOUT_MS = 2000;
const STATEMENT_TIMEOUT_MS = 10_000;

/**
 * A pool of Postgres connections. Nothing is opened before the first query.
 *
 * @param tier shown as `application_name` in `pg_stat_activity`
 */
export function createDatabase(
  config: Pick<Config, 'DATABASE_URL' | 'DATABASE_POOL_MAX'>,
  tier: string,
  options: { statementTimeoutMs?: number; max?: number } = {},
): Database {
  return knex({
    client: 'pg',
    // What fails is told to the caller; knex would print it once more, and not as a log line.
    log: { warn: () => undefined, error: () => undefined },
    connection: {
      connectionString: config.DATABASE_URL ?? '',
      application_name: `laurel-${tier}`,
      connectionTimeoutMillis: ACQUIRE_TIMEOUT_MS,
      statement_timeout: options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS,
      keepAlive: true,
    },
    acquireConnectionTimeout: ACQUIRE_TIMEOUT_MS,
    pool: { min: 0, max: options.max ?? config.DATABASE_POOL_MAX },
  });
}

/** SQLSTATE classes and codes of faults that pass by themselves: connection, resources, shutdown, deadlock, timeout. */
const transientStates = /^(08|53|57P|40001|40P01|55P03|57014|25006)/;
const transientSockets = /ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH/;
const transientMessages =
  /Timeout acquiring a connection|Connection terminated|timeout expired|Connection ended|Client has encountered a connection error|pool is (draining|destroyed)|Unable to acquire a connection/i;

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
