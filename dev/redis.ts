import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { access, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { StackError } from './errors.ts';
import { ServerProcess, type ServerOptions } from './server.ts';

export interface RedisServer {
  readonly url: string;
  readonly port: number;
  readonly pid: number | undefined;
  start(): Promise<void>;
  stop(): Promise<void>;
  kill9(): Promise<void>;
}

/** @throws StackError that says how to get one, if there is neither a Redis nor a Valkey on the PATH */
export async function findRedis(path = process.env['PATH'] ?? ''): Promise<string> {
  for (const name of ['redis-server', 'valkey-server']) {
    for (const folder of path.split(delimiter).filter(Boolean)) {
      const file = join(folder, name);
      const isThere = await access(file, constants.X_OK).then(
        () => true,
        () => false,
      );
      if (isThere) return file;
    }
  }
  throw new StackError(
    'Laurel needs Redis, and there is no redis-server (or valkey-server) on the PATH. Install it ' +
      '(Debian, Ubuntu: apt install redis-server; macOS: brew install redis; Fedora: dnf install valkey), ' +
      'or set REDIS_URL to a Redis that runs already.',
  );
}

/** The password of the Redis of a data folder, made at the first start. Only the folder's owner can read it. */
export async function redisPassword(folder: string): Promise<string> {
  const file = join(folder, 'redis.password');
  const known = await readFile(file, 'utf8').catch(() => '');
  if (known !== '') return known;
  const password = randomBytes(24).toString('hex');
  await writeFile(`${file}.new`, password, { mode: 0o600 });
  await rename(`${file}.new`, file);
  return password;
}

/**
 * A private Redis under `<folder>/redis`, on the loopback interface, that keeps what it has been told: the
 * append-only file is synced every second, so a crash of the machine loses at most one second.
 * It is not started yet.
 *
 * @throws StackError if no Redis is installed
 */
export async function createRedisServer(
  folder: string,
  { password, ...options }: ServerOptions & { readonly password?: string } = {},
): Promise<RedisServer> {
  const program = await findRedis();
  const home = join(folder, 'redis');
  await mkdir(home, { recursive: true, mode: 0o700 });
  const config = password === undefined ? shipped : await writeConfig(home, password);
  const urlOf = (port: number): string =>
    `redis://${password === undefined ? '' : `:${password}@`}127.0.0.1:${port}`;
  const server = new ServerProcess(
    {
      name: 'Redis',
      home,
      logFile: join(folder, 'redis.log'),
      stopSignal: 'SIGTERM', // the same as SHUTDOWN, and needs no connection
      command: (port) => ({ file: program, args: redisArguments(config, port, home) }),
      check: (port, pid) => checkRedis(urlOf(port), pid),
    },
    options,
  );
  return {
    get url() {
      return urlOf(server.port);
    },
    get port() {
      return server.port;
    },
    get pid() {
      return server.pid;
    },
    start: () => server.start(),
    stop: () => server.stop(),
    kill9: () => server.kill9(),
  };
}

const shipped = fileURLToPath(new URL('../deploy/redis.conf', import.meta.url));

/** The shipped settings and the password, which would be anybody's to read among the arguments. @returns the file */
async function writeConfig(home: string, password: string): Promise<string> {
  const file = join(home, 'redis.conf');
  await rm(file, { force: true }); // an existing file would keep its own mode
  await writeFile(file, `include ${JSON.stringify(shipped)}\nrequirepass ${password}\n`, { mode: 0o600 });
  return file;
}

function redisArguments(config: string, port: number, home: string): string[] {
  const settings: Record<string, string> = {
    port: String(port),
    bind: '127.0.0.1',
    dir: home,
    daemonize: 'no',
    // macOS cannot tell us another process's working directory, so there the arguments must stay readable.
    ...(process.platform === 'darwin' ? { 'set-proc-title': 'no' } : {}),
  };
  return [config, ...Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value])];
}

/**
 * Resolves if the Redis at `url` answers a PING, and, if `pid` is given, is that very process.
 * Rejects while it is still loading its data.
 */
export async function checkRedis(url: string, pid?: number): Promise<void> {
  const client = new Redis(url, {
    lazyConnect: true,
    connectTimeout: 2_000,
    commandTimeout: 2_000,
    enableReadyCheck: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  let failure: Error | undefined;
  client.on('error', (error: Error) => {
    failure = error; // it says more than the "Connection is closed." that the command is rejected with
  });
  try {
    await client.connect();
    await client.ping();
    if (pid === undefined) return;
    const info = await client.info('server');
    if (!info.includes(`process_id:${pid}\r\n`)) throw new Error('another Redis answers on this port');
  } catch (error) {
    throw failure ?? error;
  } finally {
    client.disconnect();
  }
}
