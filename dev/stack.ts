import { chmod, mkdir, readdir, readFile, realpath, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { withoutPassword } from '../common/postgres-address.ts';
import { codeOf, messageOf, StackError } from './errors.ts';
import { acquireLock } from './lock.ts';
import { checkPostgres, createPostgresServer } from './postgres.ts';
import { checkRedis, createRedisServer, findRedis, redisPassword } from './redis.ts';
import type { Log } from './server.ts';

export { StackError } from './errors.ts';

export interface StackOptions {
  /** Where the private stores keep their data; created if it is not there. Unused if both URLs are given. */
  dataDir: string;
  /** A PostgreSQL that runs already. It is checked, and left alone by `stop`. */
  databaseUrl?: string | undefined;
  /** A Redis that runs already. It is checked, and left alone by `stop`. */
  redisUrl?: string | undefined;
  /** Where the caller answers; told to those who would start a second one on the folder. */
  address?: string | undefined;
  /** Told about what an operator would want to know; never about passwords. */
  log?: Log | undefined;
}

export interface Stack {
  /** With the password: not for logs. */
  readonly databaseUrl: string;
  readonly redisUrl: string;
  /** Of the private stores, while they run. */
  readonly pids: { readonly postgres: number | undefined; readonly redis: number | undefined };
  /** Orderly, over within about 3 s, and harmless when repeated. Close your connections first. */
  stop(): Promise<void>;
}

/** How long a store that somebody else runs may take to come up: both may have been started with us. */
const patienceMs = 10_000;

/**
 * Starts a private PostgreSQL and a private Redis, unless their URLs are given, and waits until both answer.
 * Their data and their ports outlive a restart. If one of them crashes it is started again. What an owner
 * that was killed has left running is stopped first; a folder whose owner is alive is refused.
 *
 * @throws StackError with a message that says what to do
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { databaseUrl, redisUrl, log } = options;
  if (databaseUrl !== undefined && redisUrl !== undefined) {
    await Promise.all([requirePostgres(databaseUrl), requireRedis(redisUrl)]);
    return {
      databaseUrl,
      redisUrl,
      pids: { postgres: undefined, redis: undefined },
      stop: async () => undefined,
    };
  }
  if (process.platform === 'win32') {
    throw new StackError('The embedded stores run on Linux and macOS. Set DATABASE_URL and REDIS_URL.');
  }
  if (redisUrl === undefined) await findRedis(); // before anything is created

  const folder = await prepareFolder(options.dataDir);
  const lock = await acquireLock(folder, options.address);
  const stops: (() => Promise<void>)[] = [];
  const stopAll = async () => {
    const results = await Promise.allSettled(stops.map((stop) => stop()));
    await lock.release();
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  };
  try {
    const ports = await readPorts(folder);
    const startPostgres = async () => {
      if (databaseUrl !== undefined) return requirePostgres(databaseUrl);
      const server = await createPostgresServer(folder, { port: ports.postgres, keepAlive: true, log });
      stops.push(() => server.stop());
      await server.start();
      return server;
    };
    const startRedis = async () => {
      if (redisUrl !== undefined) return requireRedis(redisUrl);
      const server = await createRedisServer(folder, {
        port: ports.redis,
        keepAlive: true,
        log,
        password: await redisPassword(folder),
      });
      stops.push(() => server.stop());
      await server.start();
      return server;
    };
    const [postgres, redis] = await bothOrError(startPostgres(), startRedis());
    await writePorts(folder, {
      postgres: postgres?.port ?? ports.postgres,
      redis: redis?.port ?? ports.redis,
    });
    let stopped: Promise<void> | undefined;
    return {
      databaseUrl: databaseUrl ?? postgres?.url() ?? '',
      redisUrl: redisUrl ?? redis?.url ?? '',
      pids: {
        get postgres() {
          return postgres?.pid;
        },
        get redis() {
          return redis?.pid;
        },
      },
      stop: () => (stopped ??= stopAll()),
    };
  } catch (error) {
    await stopAll();
    throw error;
  }
}

/** Unlike Promise.all, waits for the other one too, so that there is something to stop and not a race. */
async function bothOrError<A, B>(a: Promise<A>, b: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([a, b]);
  return [await a, await b];
}

/** By which a folder of an earlier run is known. */
const ownFiles = new Set(['secrets.json', 'stack.json', 'postgres.password']);

/** @returns the folder's real path, by which its servers can be recognised */
async function prepareFolder(dataDir: string): Promise<string> {
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    const folder = await realpath(dataDir);
    const { mode, uid } = await stat(folder);
    // Only folders that Laurel has made itself, or used before: DATA_DIR may be anything.
    const isOurs = uid === process.getuid?.() && (await readdir(folder)).some((name) => ownFiles.has(name));
    if (isOurs && (mode & 0o007) !== 0 && (mode & 0o1000) === 0) await chmod(folder, mode & 0o770);
    return folder;
  } catch (error) {
    throw new StackError(`The data folder ${dataDir} cannot be used: ${messageOf(error)}`);
  }
}

interface Ports {
  postgres?: number | undefined;
  redis?: number | undefined;
}

async function readPorts(folder: string): Promise<Ports> {
  try {
    const value: unknown = JSON.parse(await readFile(join(folder, 'stack.json'), 'utf8'));
    return { postgres: portIn(value, 'postgres'), redis: portIn(value, 'redis') };
  } catch {
    return {}; // the first start, or a file cut short: new ports do no harm
  }
}

function portIn(value: unknown, store: keyof Ports): number | undefined {
  const ports: unknown =
    typeof value === 'object' && value !== null && 'ports' in value ? value.ports : undefined;
  if (typeof ports !== 'object' || ports === null || !(store in ports)) return undefined;
  const port: unknown = Object.entries(ports).find(([name]) => name === store)?.[1];
  return typeof port === 'number' && Number.isInteger(port) && port > 0 && port < 65_536 ? port : undefined;
}

async function writePorts(folder: string, ports: Ports): Promise<void> {
  const file = join(folder, 'stack.json');
  await writeFile(`${file}.new`, `${JSON.stringify({ ports }, null, 2)}\n`);
  await rename(`${file}.new`, file);
}

async function requirePostgres(url: string): Promise<undefined> {
  await withPatience(
    () => checkPostgres(url),
    // Refused connections, a name that is not known yet, and "the database system is starting up".
    (code) => code === undefined || !/^(28|3D|42|ERR_)/.test(code),
    (cause) =>
      `PostgreSQL at ${withoutPassword(url)} (DATABASE_URL) cannot be used: ${cause}. ` +
      'Check the address, the password, that the database exists and that the server runs; ' +
      'or leave DATABASE_URL unset to run a private one.',
  );
}

async function requireRedis(url: string): Promise<undefined> {
  await withPatience(
    () => checkRedis(url),
    (_code, cause) => !/NOAUTH|WRONGPASS|NOPERM/.test(cause),
    (cause) =>
      `Redis at ${withoutPassword(url)} (REDIS_URL) cannot be used: ${cause}. ` +
      'Check the address, the password and that the server runs; or leave REDIS_URL unset to run a private one.',
  );
}

async function withPatience(
  check: () => Promise<void>,
  isWorthWaiting: (code: string | undefined, message: string) => boolean,
  explain: (cause: string) => string,
): Promise<void> {
  for (const end = Date.now() + patienceMs; ; await delay(100)) {
    try {
      return await check();
    } catch (error) {
      const code = codeOf(error);
      const cause = messageOf(error) || (code ?? 'unknown error'); // an AggregateError's message is empty
      if (!isWorthWaiting(code, cause) || Date.now() > end)
        throw new StackError(explain(cause), { cause: error });
    }
  }
}
