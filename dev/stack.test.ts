import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import pg from 'pg';
import { eventually } from '../test/support/eventually.ts';
import { temporaryFolder } from '../test/support/run-folder.ts';
import { checkRedis } from './redis.ts';
import { inspectProcess, serversIn } from './processes.ts';
import { ServerProcess } from './server.ts';
import { startStack, StackError, type Stack } from './stack.ts';

type Urls = Pick<Stack, 'databaseUrl' | 'redisUrl'>;

async function query(url: string, text: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}

async function redis<T>(url: string, use: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await use(client);
  } finally {
    client.disconnect();
  }
}

async function writeMark({ databaseUrl, redisUrl }: Urls): Promise<void> {
  await query(databaseUrl, "create table mark as select 'kept' as text");
  await redis(redisUrl, (client) => client.set('mark', 'kept'));
}

async function expectMark({ databaseUrl, redisUrl }: Urls): Promise<void> {
  expect(await query(databaseUrl, 'select text from mark')).to.deep.equal([{ text: 'kept' }]);
  expect(await redis(redisUrl, (client) => client.get('mark'))).to.equal('kept');
}

async function failureOf(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).to.be.instanceOf(StackError);
  return error instanceof Error ? error.message : '';
}

describe('startStack', function () {
  this.timeout(60_000);

  let dataDir: string;
  const stacks: Stack[] = [];
  const owners: ChildProcess[] = [];

  const start = async (): Promise<Stack> => {
    const stack = await startStack({ dataDir });
    stacks.push(stack);
    return stack;
  };

  /** Another process that calls startStack on the same folder, and its first line. */
  const startOwner = async (env: NodeJS.ProcessEnv = process.env) => {
    const script = join(import.meta.dirname, '../test/support/stack-owner.ts');
    const child = spawn(process.execPath, ['--import', 'tsx', script, dataDir], {
      env,
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    owners.push(child);
    const exited = once(child, 'exit');
    for await (const line of createInterface({ input: child.stdout })) {
      const said = JSON.parse(line) as Urls & { postgres: number; redis: number; error?: string };
      return { child, exited, said };
    }
    throw new Error('the owner said nothing');
  };

  beforeEach(async () => {
    dataDir = join(await temporaryFolder('stack'), 'data');
  });

  afterEach(async () => {
    for (const owner of owners.splice(0)) owner.kill('SIGKILL');
    await Promise.all(stacks.splice(0).map((stack) => stack.stop()));
  });

  it('keeps data and addresses over a restart', async () => {
    const first = await start();
    await writeMark(first);
    await first.stop();
    expect(await serversIn(dataDir)).to.deep.equal([]);

    const second = await start();
    await expectMark(second);
    expect(second.databaseUrl).to.equal(first.databaseUrl);
    expect(second.redisUrl).to.equal(first.redisUrl);
  });

  it('runs stores that are durable and closed to others', async () => {
    const { databaseUrl, redisUrl } = await start();
    const settings = await query(
      databaseUrl,
      `select name, setting from pg_settings where name in
         ('fsync', 'full_page_writes', 'listen_addresses', 'synchronous_commit') order by name`,
    );
    expect(settings).to.deep.equal([
      { name: 'fsync', setting: 'on' },
      { name: 'full_page_writes', setting: 'on' },
      { name: 'listen_addresses', setting: '127.0.0.1' },
      { name: 'synchronous_commit', setting: 'on' },
    ]);
    const config = await redis(redisUrl, (client) => client.config('GET', 'append*'));
    expect(config).to.include('yes').and.to.include('everysec');
    expect(await redis(redisUrl, (client) => client.config('GET', 'bind'))).to.include('127.0.0.1');

    for (const secret of ['postgres.password', 'redis.password', 'redis/redis.conf'])
      expect((await stat(join(dataDir, secret))).mode & 0o777, secret).to.equal(0o600);
    expect((await stat(dataDir)).mode & 0o007, 'others').to.equal(0);
    for (const store of ['postgres', 'redis'])
      expect((await stat(join(dataDir, store))).mode & 0o777, store).to.equal(0o700);
    const open = new URL(redisUrl);
    open.password = '';
    const unnamed: unknown = await checkRedis(open.href).catch((error: unknown) => error);
    expect(String(unnamed)).to.include('NOAUTH');
    const withoutPassword = new URL(databaseUrl);
    withoutPassword.password = 'wrong';
    const refused: unknown = await query(withoutPassword.href, 'select 1').catch((error: unknown) => error);
    expect(refused).to.have.property('code', '28P01');
  });

  it('stops twice, and while clients are connected, within 3 s', async () => {
    const stack = await start();
    const client = new pg.Client({ connectionString: stack.databaseUrl });
    const ended = new Promise((resolve) => client.on('error', resolve));
    await client.connect();
    const begin = Date.now();
    await Promise.all([stack.stop(), stack.stop()]);
    await stack.stop();
    expect(Date.now() - begin).to.be.below(3_500);
    expect(await serversIn(dataDir)).to.deep.equal([]);
    await ended;
  });

  it('stops frozen stores', async () => {
    const stack = await start();
    process.kill(stack.pids.redis ?? 0, 'SIGSTOP');
    process.kill(stack.pids.postgres ?? 0, 'SIGSTOP');
    const begin = Date.now();
    await stack.stop();
    expect(Date.now() - begin).to.be.below(3_500);
    expect(await serversIn(dataDir)).to.deep.equal([]);
  });

  it('runs Redis as docker-compose.yml does', async () => {
    const stack = await start();
    const settings = await redis(stack.redisUrl, (client) =>
      client.config(
        'GET',
        'appendonly',
        'appendfsync',
        'save',
        'maxmemory-policy',
        'auto-aof-rewrite-min-size',
      ),
    );
    const pairs = settings as string[];
    expect(
      Object.fromEntries(pairs.flatMap((name, i) => (i % 2 === 0 ? [[name, pairs[i + 1]]] : []))),
    ).to.deep.equal({
      appendonly: 'yes',
      appendfsync: 'everysec',
      save: '',
      'maxmemory-policy': 'noeviction',
      'auto-aof-rewrite-min-size': String(512 * 2 ** 20),
    });
    await stack.stop();
  });

  it('takes over what a killed owner left running, with its data', async () => {
    const { child, exited, said } = await startOwner();
    await writeMark(said);
    child.kill('SIGKILL');
    await exited;
    expect(await inspectProcess(said.postgres), 'the orphaned PostgreSQL').not.to.equal(undefined);
    expect(await inspectProcess(said.redis), 'the orphaned Redis').not.to.equal(undefined);

    const stack = await start();
    await expectMark(stack);
    expect(stack.pids.postgres).not.to.equal(said.postgres);
    expect(await inspectProcess(said.postgres), 'the orphaned PostgreSQL').to.equal(undefined);
    expect(await inspectProcess(said.redis), 'the orphaned Redis').to.equal(undefined);
    await stack.stop();
    expect(await serversIn(dataDir)).to.deep.equal([]);
  });

  it('starts after everything was killed at once, with what was confirmed', async () => {
    const { child, exited, said } = await startOwner();
    await writeMark(said);
    // Redis promises one second; ask it, rather than wait, for what everysec does by itself.
    await eventually(async () => {
      const info = await redis(said.redisUrl, (client) => client.info('persistence'));
      expect(info)
        .to.match(/aof_pending_bio_fsync:0/)
        .and.to.match(/aof_buffer_length:0/);
    });
    for (const { pid } of await serversIn(dataDir)) process.kill(pid, 'SIGKILL');
    child.kill('SIGKILL');
    await exited;

    await expectMark(await start());
  });

  it('leaves nothing behind when its process is told to end', async () => {
    const { child, exited } = await startOwner();
    child.kill('SIGTERM');
    expect(await exited).to.deep.equal([0, null]);
    expect(await serversIn(dataDir)).to.deep.equal([]);
  });

  it('refuses a second owner while the first is alive, and does not harm the first', async () => {
    const { child, exited, said } = await startOwner();
    const message = await failureOf(startStack({ dataDir }));
    expect(message).to.include('already running').and.to.include(`process ${child.pid}`);
    await writeMark(said);
    await expectMark(said);
    child.kill('SIGTERM');
    await exited;
    await expectMark(await start());
  });

  it('refuses a second stack of its own process, and works again after the first has stopped', async () => {
    const first = await start();
    expect(await failureOf(startStack({ dataDir }))).to.include('already running');
    await first.stop();
    await start();
  });

  it('is not held up by the lock of a process that is gone, or by one cut short', async () => {
    await mkdir(dataDir, { recursive: true, mode: 0o711 });
    // Our own pid, as in a container where every run gets the same one; but started at another time.
    await writeFile(join(dataDir, 'owner.json'), JSON.stringify({ pid: process.pid, startedAt: 'long ago' }));
    await (await start()).stop();
    await writeFile(join(dataDir, 'owner.json'), '{"pid":');
    await start();
  });

  it('is not held up by a lock file of PostgreSQL whose number another process has now', async () => {
    const stack = await start();
    await writeMark(stack);
    const lock = await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8');
    await stack.stop();
    // Of the same user, as PostgreSQL takes only its own user's processes for postmasters.
    const { uid, gid } = await stat(join(dataDir, 'postgres'));
    const other = spawn('sleep', ['60'], { uid, gid });
    owners.push(other);
    await writeFile(join(dataDir, 'postgres', 'postmaster.pid'), lock.replace(/^\d+/, String(other.pid)));
    await expectMark(await start());
    expect(other.exitCode).to.equal(null);
  });

  it('brings a store that crashes back at its old address, with its data', async () => {
    const stack = await start();
    await writeMark(stack);
    const before = { ...stack.pids };
    process.kill(before.redis ?? 0, 'SIGKILL');
    process.kill(before.postgres ?? 0, 'SIGKILL');
    await eventually(() => expectMark(stack), { timeoutMs: 20_000 });
    expect(stack.pids.redis).not.to.equal(before.redis);
    expect(stack.pids.postgres).not.to.equal(before.postgres);
  });

  it('begins again when a crash cut the first start short', async () => {
    await mkdir(join(dataDir, 'postgres.initialising'), { recursive: true });
    await writeFile(join(dataDir, 'postgres.initialising', 'PG_VERSION'), '18\n');
    await chmod(dataDir, 0o711);
    await writeMark(await start());
  });

  it('refuses data of another PostgreSQL version, and leaves it alone', async () => {
    await mkdir(join(dataDir, 'postgres'), { recursive: true });
    await chmod(dataDir, 0o711);
    await writeFile(join(dataDir, 'postgres', 'PG_VERSION'), '9\n');
    expect(await failureOf(startStack({ dataDir }))).to.include('belongs to PostgreSQL 9');
    expect(await readFile(join(dataDir, 'postgres', 'PG_VERSION'), 'utf8')).to.equal('9\n');
    expect(await serversIn(dataDir)).to.deep.equal([]);
  });

  it('says how to get Redis where there is none, before it creates anything', async () => {
    const { said } = await startOwner({ ...process.env, PATH: '' });
    expect(said.error)
      .to.include('apt install redis')
      .and.to.include('brew install redis')
      .and.to.include('REDIS_URL');
    expect(await stat(dataDir).catch(() => 'nothing')).to.equal('nothing');
  });

  it('names the folder that keeps the PostgreSQL user out, when run as root', async function () {
    if (process.getuid?.() !== 0) return; // as an ordinary user PostgreSQL runs as that user, and gets everywhere
    const closed = await temporaryFolder('closed');
    await chmod(closed, 0o700);
    dataDir = join(closed, 'data');
    const message = await failureOf(startStack({ dataDir }));
    expect(message).to.include(`chmod o+x ${closed};`);
    await chmod(closed, 0o711);
    await start();
  });

  it('uses stores that run already, and leaves them running', async () => {
    const own = await start();
    const { databaseUrl, redisUrl } = own;
    const unused = join(dataDir, 'unused');
    const stack = await startStack({ dataDir: unused, databaseUrl, redisUrl });
    expect(stack.pids).to.deep.equal({ postgres: undefined, redis: undefined });
    await stack.stop();
    await writeMark(own);
    expect(await stat(unused).catch(() => 'nothing')).to.equal('nothing');

    const half = await startStack({ dataDir: unused, databaseUrl });
    stacks.push(half);
    expect(half.databaseUrl).to.equal(databaseUrl);
    expect(half.redisUrl).not.to.equal(redisUrl);
    await half.stop();
    await rm(unused, { recursive: true });
  });

  it('says which given store cannot be used, without its password', async () => {
    const { databaseUrl, redisUrl } = await start();
    const wrong = databaseUrl.replace(/:[^:@]+@/, ':s3cret@');
    const message = await failureOf(startStack({ dataDir, databaseUrl: wrong, redisUrl }));
    expect(message).to.include('DATABASE_URL').and.to.include('password').and.not.to.include('s3cret');
  });
});

describe('ServerProcess', () => {
  it('kills a server that does not stop, within 3 s', async () => {
    const home = await temporaryFolder('stubborn');
    const script =
      "process.on('SIGTERM', () => undefined); setInterval(() => undefined, 1000); console.log('ready')";
    const logFile = join(home, 'log');
    const server = new ServerProcess(
      {
        name: 'A stubborn server',
        home,
        logFile,
        stopSignal: 'SIGTERM',
        command: () => ({ file: process.execPath, args: ['-e', script] }),
        check: async () => {
          expect(await readFile(logFile, 'utf8')).to.include('ready');
        },
      },
      {},
    );
    await server.start();
    const pid = server.pid ?? 0;
    const begin = Date.now();
    await server.stop();
    expect(Date.now() - begin).to.be.within(2_000, 3_500);
    expect(await inspectProcess(pid)).to.equal(undefined);
    expect(server.pid).to.equal(undefined);
  });

  it('says what the server said when it did not start', async () => {
    const home = await temporaryFolder('broken');
    const server = new ServerProcess(
      {
        name: 'A broken server',
        home,
        logFile: join(home, 'log'),
        stopSignal: 'SIGTERM',
        command: () => ({ file: process.execPath, args: ['-e', "console.log('no room'); process.exit(3)"] }),
        check: () => Promise.reject(new Error('not yet')),
      },
      {},
    );
    expect(await failureOf(server.start()))
      .to.include('exit code 3')
      .and.to.include('no room');
  });
});
