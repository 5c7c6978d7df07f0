import type { EventEmitter } from 'node:events';
import pg from 'pg';
import { parsePostgresAddress, type PostgresAddress } from './postgres-address.ts';
import { LAST_TIME_MS } from './validate.ts';

export interface ConnectionSettings {
  /** shown in `pg_stat_activity` */
  readonly applicationName: string;
  readonly connectTimeoutMs: number;
  /** how long a statement may take, milliseconds; 0 = any time */
  readonly statementTimeoutMs: number;
}

/**
 * What the code relies on, whatever the database, the role or the server say: dates are read as ISO, and times that bear no zone
 * would be UTC.
 */
const session = { DateStyle: 'ISO,YMD', TimeZone: 'UTC' };
const reportedDateStyle = 'ISO, YMD';

const { TIMESTAMPTZ } = pg.types.builtins;
const readTime = pg.types.getTypeParser(TIMESTAMPTZ) as (text: string) => unknown;

/** Postgres has times that no Date can hold, `infinity` first: they are the last or the first one here. */
function timeOf(text: string): Date {
  const time = readTime(text);
  if (time instanceof Date && !Number.isNaN(time.getTime())) return time;
  return new Date(text.startsWith('-') || text.endsWith('BC') ? -LAST_TIME_MS : LAST_TIME_MS);
}
const getTypeParser = (id: number, format?: 'text' | 'binary'): unknown =>
  id === (TIMESTAMPTZ as number) && format !== 'binary'
    ? timeOf
    : pg.types.getTypeParser(id, format as 'text');

/** Poolers such as PgBouncer refuse start-up parameters that they do not track. */
const isRefusedByPooler = (error: unknown): boolean =>
  error instanceof Error && /unsupported startup parameter|command-line options/i.test(error.message);
const IGNORED = 'unsupported startup parameter: ignored';
const isUnprotected = (error: unknown): boolean =>
  error instanceof Error && /does not support SSL/i.test(error.message);
const isNotAdmitted = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === '28000';

/**
 * Opens connections to one address. The limit of a statement's time and the session's settings are parts of the start-up packet. A
 * pooler that refuses them is remembered; behind it the limit is kept on this side, because what is set in a session of a
 * transaction pooler is set for others, too. DateStyle and TimeZone are set by statement there: poolers keep those two apart.
 */
export class PostgresConnector {
  readonly #address: PostgresAddress;
  readonly #settings: ConnectionSettings;
  #isPooled = false;

  /** @throws ConfigError when the address cannot be used */
  constructor(url: string, settings: ConnectionSettings) {
    this.#address = parsePostgresAddress(url);
    this.#settings = settings;
  }

  /** Connects to the first host that can be used, in the first way in which it can. @throws the last host's reason */
  async connect(): Promise<pg.Client> {
    let last: unknown;
    for (const { host, port } of this.#address.hosts) {
      for (const ssl of this.#address.protections) {
        try {
          return await this.#open(host, port, ssl);
        } catch (error) {
          last = error;
          if (!isUnprotected(error) && !isNotAdmitted(error)) break;
        }
      }
    }
    throw explained(last);
  }

  async #open(host: string, port: number, ssl: PostgresAddress['protections'][number]): Promise<pg.Client> {
    const pooled = this.#isPooled;
    const { user, password, database, needsWrites } = this.#address;
    const { applicationName, connectTimeoutMs, statementTimeoutMs } = this.#settings;
    const startup = Object.entries({ ...session, statement_timeout: String(statementTimeoutMs) });
    const client = new pg.Client({
      ...(user !== undefined && { user }),
      ...(password !== undefined && { password }),
      ...(database !== undefined && { database }),
      host,
      port,
      ssl: !host.startsWith('/') && ssl, // a socket needs none
      application_name: applicationName,
      connectionTimeoutMillis: connectTimeoutMs,
      keepAlive: true,
      types: { getTypeParser } as pg.CustomTypesConfig,
      ...(pooled
        ? { query_timeout: statementTimeoutMs }
        : { options: startup.map(([name, value]) => `-c ${name}=${value}`).join(' ') }),
    });
    // A connection that breaks rejects what waits for it, too.
    client.on('error', () => undefined);
    const reported = reportsOf(client);
    try {
      await client.connect();
      // A pooler that was told to ignore what it does not know.
      if (!pooled && reported.get('DateStyle') !== reportedDateStyle) throw new Error(IGNORED);
      if (pooled)
        await client.query(
          Object.entries(session)
            .map(([name, value]) => `set ${name} = '${value}'`)
            .join('; '),
        );
      if (needsWrites) await requireWrites(client, host);
      return client;
    } catch (error) {
      await client.end().catch(() => undefined);
      if (pooled || !isRefusedByPooler(error)) throw error;
      this.#isPooled = true;
      return this.#open(host, port, ssl);
    }
  }
}

/** What the server tells of the session's settings. */
function reportsOf(client: pg.Client): Map<string, string> {
  const reports = new Map<string, string>();
  // Not in the types, though it is how the driver itself learns of them.
  const { connection } = client as unknown as { connection: EventEmitter };
  connection.on('parameterStatus', (message: { parameterName: string; parameterValue: string }) =>
    reports.set(message.parameterName, message.parameterValue),
  );
  return reports;
}

async function requireWrites(client: pg.Client, host: string): Promise<void> {
  const { rows } = await client.query<{ only_reads: boolean }>('select pg_is_in_recovery() as only_reads');
  if (rows[0]?.only_reads === true) throw new Error(`${host} only reads: it is a replica`);
}

/** Adds to what a driver says what an operator can do about it. */
function explained(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const advice = adviceFor(error);
  if (advice === undefined) return error;
  return Object.assign(new Error(`${error.message}. ${advice}`, { cause: error }), {
    ...('code' in error && { code: error.code }),
  });
}

function adviceFor(error: Error): string | undefined {
  const { message } = error;
  if (/Hostname\/IP does not match/i.test(message))
    return 'The certificate is for another name: use sslmode=verify-ca, or the name that is in it.';
  if (/self.signed|unable to (verify|get)|certificate/i.test(message))
    return 'The certificate is not of an authority that this machine knows: give its file in DATABASE_URL with sslrootcert=/path/ca.pem, or use sslmode=require, which encrypts and does not look at the certificate.';
  if (isUnprotected(error)) return 'Use sslmode=prefer, or switch TLS on at the server.';
  if (isNotAdmitted(error) && /no encryption|SSL off/i.test(message))
    return 'The server wants TLS: add ?sslmode=require to DATABASE_URL.';
  return undefined;
}
