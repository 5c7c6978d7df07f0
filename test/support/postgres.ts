import { rm } from 'node:fs/promises';
import pg from 'pg';
import { createPostgresServer, type PostgresServer } from '../../dev/postgres.ts';
import { temporaryFolder } from './run-folder.ts';

const template = 'laurel_template';
/** The role under which tests run the tiers, on every server of theirs. */
const appRole = 'laurel_app';
const appPassword = 'only-for-tests';
/** Where the process that began a run in parallel tells the others the server's address. */
export const sharedUrl = 'LAUREL_TEST_POSTGRES';

/** A server on which databases are made; `url` of one by its name. */
type Host = Pick<PostgresServer, 'url'>;

let shared: Promise<PostgresServer> | undefined;
let count = 0;

/**
 * An empty, migrated database of its own, on the server that the whole run shares. That server starts when
 * the first test asks, so that a run of unit tests alone does not wait for it.
 */
export async function createDatabase(): Promise<string> {
  const server = await sharedServer();
  const name = `laurel_${process.pid}_${(count += 1)}`;
  await administer((client) => client.query(`create database ${name} template ${template}`));
  return server.url(name);
}

/** A test's database as the tiers use it in production: by a role that owns nothing. */
export function asAppRole(databaseUrl: string): string {
  return Object.assign(new URL(databaseUrl), { username: appRole, password: appPassword }).href;
}

/** Ends its connections too: a test that has failed may have left some. */
export async function dropDatabase(url: string): Promise<void> {
  const name = databaseOf(url);
  await administer((client) => client.query(`drop database if exists ${name} with (force)`));
}

export interface OpenConnection {
  application: string;
  state: string;
  query: string;
}

export async function openConnections(url: string): Promise<OpenConnection[]> {
  const { rows } = await administer((client) =>
    client.query<OpenConnection>(
      `select application_name as application, coalesce(state, '?') as state, query
         from pg_stat_activity
        where datname = $1 and backend_type = 'client backend'`,
      [databaseOf(url)],
    ),
  );
  return rows;
}

/** Starts the server for all processes of a run in parallel. */
export async function sharePostgres(): Promise<void> {
  process.env[sharedUrl] = (await startedHere()).url('postgres');
}

export async function stopSharedPostgres(): Promise<void> {
  const server = await shared?.catch(() => undefined);
  shared = undefined;
  await server?.stop();
}

export interface PrivatePostgres {
  /** A migrated database. The same after a restart. */
  readonly url: string;
  readonly pid: number | undefined;
  start(): Promise<void>;
  /** Orderly, as for an upgrade; sessions are ended at once. */
  stop(): Promise<void>;
  kill9(): Promise<void>;
  /** Stops it and removes its data. */
  remove(): Promise<void>;
}

/** A server of its own (about 1 s), for a test that stops or kills it. Call `remove` at the end. */
export async function startPrivatePostgres(): Promise<PrivatePostgres> {
  const folder = await temporaryFolder('postgres');
  const server = await createPostgresServer(folder);
  await server.start();
  const url = server.url();
  await makeAppRole(server);
  await migrateTo(url);
  return {
    url,
    get pid() {
      return server.pid;
    },
    start: () => server.start(),
    stop: () => server.stop(),
    kill9: () => server.kill9(),
    async remove() {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function sharedServer(): Promise<Host> {
  const address = process.env[sharedUrl];
  if (address === undefined) return startedHere();
  return { url: (name = '') => Object.assign(new URL(address), { pathname: `/${name}` }).href };
}

function startedHere(): Promise<PostgresServer> {
  return (shared ??= startShared());
}

async function startShared(): Promise<PostgresServer> {
  const server = await createPostgresServer(await temporaryFolder('postgres'));
  await server.start();
  // As most databases in production, it sorts texts as people do: an order that forgets to say otherwise is not ours.
  await onServer(server, (client) =>
    client.query(
      `create database ${template} template template0 encoding 'UTF8' locale_provider icu icu_locale 'en-US' locale 'C'`,
    ),
  );
  await makeAppRole(server);
  await migrateTo(server.url(template));
  return server;
}

async function migrateTo(url: string): Promise<void> {
  // Only now: a test of this harness, or of a pure function, must not depend on the migrations.
  const { migrate } = await import('../../migrations/index.ts');
  const { withMigrationPool } = await import('../../common/postgres.ts');
  await withMigrationPool(url, (db) => migrate(db, appRole));
}

const makeAppRole = (server: Host): Promise<unknown> =>
  onServer(server, (client) => client.query(`create role ${appRole} login password '${appPassword}'`));

async function administer<T>(use: (client: pg.Client) => Promise<T>): Promise<T> {
  return onServer(await sharedServer(), use);
}

async function onServer<T>(server: Host, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: server.url('postgres') });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

function databaseOf(url: string): string {
  const name = new URL(url).pathname.slice(1);
  if (!/^laurel_\d+_\d+$/.test(name)) throw new Error(`${name} is not a database that createDatabase() made`);
  return name;
}
