import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type pg from 'pg';
import { PostgresConnector } from '../common/postgres-connection.ts';
import { codeOf, messageOf, StackError } from './errors.ts';
import { findPostgresBinaries, type PostgresBinaries } from './postgres-binaries.ts';
import { endServersIn, exists } from './processes.ts';
import { ServerProcess, type ServerOptions } from './server.ts';

const run = promisify(execFile);

export interface PostgresServer {
  /** With the password: not for logs. @param database default `laurel` */
  url(database?: string): string;
  readonly port: number;
  readonly pid: number | undefined;
  start(): Promise<void>;
  stop(): Promise<void>;
  kill9(): Promise<void>;
}

interface User {
  readonly uid: number;
  readonly gid: number;
}

const user = 'laurel';

/**
 * A private PostgreSQL under `<folder>/postgres`, on the loopback interface, with a password of its own and
 * a database `laurel`. Nothing is traded for speed: what it has confirmed is on the disk.
 * It is initialised if need be, and not started yet.
 *
 * @param folder absolute, without symbolic links
 * @throws StackError if it cannot run here
 */
export async function createPostgresServer(
  folder: string,
  options: ServerOptions = {},
): Promise<PostgresServer> {
  const binaries = await findPostgresBinaries();
  const home = join(folder, 'postgres');
  const runAs = await userFor(home);
  if (runAs) {
    await letThrough(folder, runAs);
    await requireTraversable(folder, runAs);
    await requireTraversable(dirname(binaries.postgres), runAs);
  }
  const password = await initialise(folder, home, binaries, runAs);
  const urlFor = (port: number, database: string) =>
    `postgres://${user}:${password}@127.0.0.1:${port}/${database}`;
  const server = new ServerProcess(
    {
      name: 'PostgreSQL',
      home,
      logFile: join(folder, 'postgres.log'),
      stopSignal: 'SIGINT', // fast shutdown: ends the sessions and writes a checkpoint
      command: (port) => ({ file: binaries.postgres, args: postgresArguments(port, home), ...runAs }),
      prepare: () => removeStaleLock(home),
      check: (port) => checkPostgres(urlFor(port, 'postgres')),
    },
    options,
  );
  const url = (database = 'laurel') => urlFor(server.port, database);
  return {
    url,
    get port() {
      return server.port;
    },
    get pid() {
      return server.pid;
    },
    async start() {
      await server.start();
      await withClient(url('postgres'), createLaurelDatabase);
    },
    stop: () => server.stop(),
    kill9: () => server.kill9(),
  };
}

function postgresArguments(port: number, home: string): string[] {
  const settings: Record<string, string | number> = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
    max_connections: 200,
    shared_buffers: '256MB',
    synchronous_commit: 'on',
    fsync: 'on',
    shared_preload_libraries: 'pg_stat_statements',
    jit: 'off', // our statements are short; compiling one costs more than running it
    lc_messages: 'C', // we look for phrases in the log
  };
  return ['-D', home, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
}

/**
 * PostgreSQL removes the lock file of a crash itself, unless a process has the number that is in it. That
 * process may be anything: the dead postmaster that nobody has collected yet, or, in a container, where
 * numbers start anew at every run, whatever was started at its turn.
 */
async function removeStaleLock(home: string): Promise<void> {
  const file = join(home, 'postmaster.pid');
  const pid = Number.parseInt(await readFile(file, 'utf8').catch(() => ''), 10);
  // In all other cases PostgreSQL's own check is better: it looks for shared memory in use, too.
  if (pid > 0 && exists(pid)) await rm(file, { force: true });
}

/** Resolves if the server answers a query; rejects while it is starting up or recovering. */
export async function checkPostgres(url: string): Promise<void> {
  await withClient(url, (client) => client.query('select 1'));
}

async function withClient<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = await new PostgresConnector(url, {
    applicationName: 'laurel-stack',
    connectTimeoutMs: 2000,
    statementTimeoutMs: 30_000,
  }).connect();
  try {
    return await use(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function createLaurelDatabase(client: pg.Client): Promise<void> {
  const { rowCount } = await client.query('select from pg_database where datname = $1', [user]);
  if (rowCount === 0) await client.query(`create database ${user}`);
}

/**
 * initdb works in a folder beside the real one, which gets its name when all is done. So a data folder that
 * exists is complete, and what a crash left half finished can be thrown away without looking at it.
 *
 * @returns the password
 */
async function initialise(
  folder: string,
  home: string,
  binaries: PostgresBinaries,
  runAs: User | undefined,
): Promise<string> {
  const passwordFile = join(folder, 'postgres.password');
  const draft = join(folder, 'postgres.initialising');
  await endServersIn(draft, 0);
  await rm(draft, { recursive: true, force: true });

  const version = await readFile(join(home, 'PG_VERSION'), 'utf8').catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw new StackError(
      `Cannot read the database in ${home}: ${messageOf(error)}. Run as the user who owns it.`,
    );
  });
  if (version !== undefined) {
    if (version.trim() !== binaries.majorVersion) {
      throw new StackError(
        `The data in ${home} belongs to PostgreSQL ${version.trim()}, and the embedded one is ` +
          `${binaries.majorVersion}. Dump it with the old version and load it into a new data folder.`,
      );
    }
    return readFile(passwordFile, 'utf8').catch((error: unknown) => {
      throw new StackError(
        `Cannot read ${passwordFile}, the password of the database beside it: ${messageOf(error)}. ` +
          'Bring the file back, or begin anew with an empty data folder.',
      );
    });
  }

  const password = randomBytes(24).toString('hex');
  await writeFile(passwordFile, password, { mode: 0o600 });
  await mkdir(draft, { mode: 0o700 });
  const forInitdb = join(folder, 'postgres.password.initialising');
  await rm(forInitdb, { force: true });
  await writeFile(forInitdb, password, { mode: 0o600 });
  try {
    if (runAs) {
      await chown(draft, runAs.uid, runAs.gid);
      await chown(forInitdb, runAs.uid, runAs.gid);
    }
    await run(
      binaries.initdb,
      [
        `--pgdata=${draft}`,
        `--username=${user}`,
        `--pwfile=${forInitdb}`,
        '--auth=scram-sha-256',
        '--encoding=UTF8',
        // The same order of text on every machine, whatever locales are installed: that of the code points.
        '--locale=C',
        '--locale-provider=builtin',
        '--builtin-locale=C.UTF-8',
        '--no-instructions',
      ],
      { cwd: draft, ...runAs },
    );
  } catch (error) {
    throw new StackError(`PostgreSQL cannot be initialised in ${folder}: ${messageOf(error)}`);
  } finally {
    await rm(forInitdb, { force: true });
  }
  await rename(draft, home);
  await syncFolder(folder);
  return password;
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** PostgreSQL refuses to run as root. @returns undefined if it may run as ourselves */
async function userFor(home: string): Promise<User | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  // Data that an ordinary user has made stays that user's.
  const owner = await stat(home).catch(() => undefined);
  if (owner && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  const existing = await idOf('postgres');
  if (existing) return existing;
  try {
    await run('useradd', [
      '--system',
      '--user-group',
      '--no-create-home',
      '--shell',
      '/bin/false',
      'postgres',
    ]);
  } catch (error) {
    throw new StackError(
      'PostgreSQL does not run as root, and the user postgres, as whom it would run, cannot be created ' +
        `(${messageOf(error).trim()}). Create that user, run as an ordinary user, or set DATABASE_URL.`,
    );
  }
  const created = await idOf('postgres');
  if (!created)
    throw new StackError('The user postgres was created but cannot be found. Set DATABASE_URL instead.');
  return created;
}

async function idOf(name: string): Promise<User | undefined> {
  try {
    const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]);
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  } catch {
    return undefined;
  }
}

/** A data folder of root's that is closed to others is opened to PostgreSQL's user, and to nobody else. */
async function letThrough(folder: string, as: User): Promise<void> {
  const { mode, uid, gid } = await stat(folder);
  if (uid !== 0 || gid !== 0 || (mode & 0o001) !== 0) return;
  await chown(folder, 0, as.gid);
  await chmod(folder, (mode & 0o700) | 0o010);
}

/**
 * Without this check initdb says no more than "Permission denied" for a folder that is wide open, because
 * one far above it is closed; `/root` is the usual one.
 */
async function requireTraversable(folder: string, as: User): Promise<void> {
  for (let path = folder; ; path = dirname(path)) {
    const { mode, uid, gid } = await stat(path);
    const bit = uid === as.uid ? 0o100 : gid === as.gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) {
      throw new StackError(
        `As root, Laurel runs its PostgreSQL as the user with the id ${as.uid}, who cannot get to ${folder}, ` +
          `because ${path} is closed to others. Do one of these: chmod o+x ${path}; run Laurel as an ordinary ` +
          'user; move it (or its data folder) elsewhere, such as /srv; or set DATABASE_URL to a PostgreSQL of your own.',
      );
    }
    if (path === dirname(path)) return;
  }
}
