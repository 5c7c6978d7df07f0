/**
 * `npm start`: all of Laurel in one process, on an embedded PostgreSQL and a private Redis unless DATABASE_URL and
 * REDIS_URL say otherwise. The one place where the tiers meet; in production each is a process of its own.
 */
import { chmodSync, mkdirSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { resolve } from 'node:path';
import { multistream, pino } from 'pino';
import { Registry } from 'prom-client';
import { createApi } from '../api/create-api.ts';
import { ConfigError, loadConfig, type Config } from '../common/config.ts';
import { closeServer, listen } from '../common/health.ts';
import { createHttpServer } from '../common/http-server.ts';
import { endOnUncaughtError } from '../common/last-resort.ts';
import { createLogger, type Logger } from '../common/logger.ts';
import { pageOf } from '../common/metrics.ts';
import { createDatabase, withMigrationPool } from '../common/postgres.ts';
import { ensureDemoPlayer, ensureUser, NameBelongsToAnother, seedCatalog } from '../common/seed.ts';
import { Shutdown, shutDownOnSignal } from '../common/shutdown.ts';
import { migrate } from '../migrations/index.ts';
import { createRealtime } from '../realtime/create-realtime.ts';
import { createWorkers } from '../workers/create-workers.ts';
import { buildWeb } from './build-web.ts';
import { demoPassword, demoPlayers } from './demo-players.ts';
import { removeEndpoints, writeEndpoints } from './endpoints.ts';
import { StackError } from './errors.ts';
import { AlreadyRunning, refuseIfOwned } from './lock.ts';
import { loadSecrets } from './secrets.ts';
import { startStack } from './stack.ts';

const SHUTDOWN_DEADLINE_MS = 4500;

/** Pages that are being developed may ask the demo, from any port of this machine. */
const developmentOrigins = ['localhost', '127.0.0.1', '[::1]'].map((host) => `http://${host}:*`);

async function start(): Promise<void> {
  // Wrong settings are told before anything is started; the stores' addresses come later.
  // A demonstration with known passwords is this machine's own, unless somebody says otherwise.
  const given = loadConfig({ HOST: '127.0.0.1', ...definedOnly(process.env) });
  const dataDir = resolve(given.DATA_DIR);
  await refuseIfOwned(dataDir);
  const secrets = loadSecrets(dataDir);
  const logOf = createLoggers(dataDir, given);
  const log = logOf('start');
  const shutdown = new Shutdown(log);
  shutDownOnSignal(shutdown, log, SHUTDOWN_DEADLINE_MS);
  endOnUncaughtError(shutdown, log, SHUTDOWN_DEADLINE_MS);
  try {
    await run(given, dataDir, secrets, logOf, shutdown);
  } catch (error) {
    await shutdown.run();
    throw error;
  }
}

async function run(
  given: Config,
  dataDir: string,
  secrets: ReturnType<typeof loadSecrets>,
  logOf: (tier: string) => Logger,
  shutdown: Shutdown,
): Promise<void> {
  const log = logOf('start');
  // The port comes first: a busy one is told before anything is started, and callers hear that they are early.
  let handle = starting;
  const server = createHttpServer((request, response) => handle(request, response), given);
  const port = await listen(server, given.PORT, given.HOST, 'PORT');

  const url = `http://localhost:${port}`;
  const webRoot = resolve(dataDir, 'web');
  const [stack] = await Promise.all([
    startStack({
      dataDir,
      databaseUrl: given.DATABASE_URL,
      redisUrl: given.REDIS_URL,
      address: url,
      log: (line) => log.info(line),
    }),
    buildWeb({ outDir: webRoot, minify: false }),
  ]);
  shutdown.defer('stores', () => stack.stop());
  writeEndpoints(dataDir, stack);
  shutdown.defer('endpoints', () => Promise.resolve(removeEndpoints(dataDir)));

  const config = loadConfig({
    CORS_ORIGINS: developmentOrigins.join(','),
    ...secrets,
    ...definedOnly(process.env),
    DATABASE_URL: stack.databaseUrl,
    REDIS_URL: stack.redisUrl,
  });
  await withMigrationPool(stack.databaseUrl, migrate);
  const adminPassword = config.ADMIN_PASSWORD ?? secrets.ADMIN_PASSWORD;
  await seed(config, adminPassword);

  const workers = await createWorkers(config, logOf('workers'));
  shutdown.defer('workers', () => workers.close());
  const [firstDemoPlayer] = demoPlayers;
  const api = await createApi(config, logOf('api'), {
    webRoot,
    ...(firstDemoPlayer !== undefined && { demo: { username: firstDemoPlayer, password: demoPassword } }),
  });
  shutdown.defer('api', () => api.close());
  const realtime = await createRealtime(config, logOf('realtime'));

  realtime.attach(server);
  const registries = [api, workers, realtime].map(({ health }) => health.registry);
  handle = (request, response) => {
    if (request.url?.split('?')[0] === '/metrics') {
      void pageOf(registries).then(
        (page) => response.writeHead(200, { 'content-type': Registry.PROMETHEUS_CONTENT_TYPE }).end(page),
        () => response.writeHead(500).end(),
      );
      return;
    }
    if (!realtime.handle(request, response)) api.handle(request, response);
  };
  shutdown.defer('server', () => closeServer(server, 500));
  shutdown.defer('realtime', () => realtime.close());

  console.log(`
  Laurel is ready.

  Scoreboard   ${url}
  API docs     ${url}/docs
  Operators    ${url}/admin   sign in as ${config.ADMIN_USERNAME} / ${adminPassword}
  Demo player  ${firstDemoPlayer ?? ''} / ${demoPassword}
  Data, logs   ${dataDir}

  npm run demo lets bots play. Ctrl-C ends everything; the data stays.
`);
}

/** Answers while the tiers are on their way. */
const starting: RequestListener = (request, response) => {
  const alive = request.url === '/healthz';
  response.writeHead(alive ? 200 : 503, { 'content-type': 'application/json', 'retry-after': '1' });
  response.end(JSON.stringify({ status: alive ? 'alive' : 'starting' }));
};

async function seed(config: Config, adminPassword: string): Promise<void> {
  const db = createDatabase(config, 'seed', { max: 2 });
  try {
    await seedCatalog(db);
    await ensureUser(db, config.ADMIN_USERNAME, adminPassword, 'admin');
    for (const player of demoPlayers) await ensureDemoPlayer(db, player, demoPassword);
  } finally {
    await db.destroy();
  }
}

/** Everything goes to a file; what needs a person also goes to the terminal. @returns the logger of a tier */
function createLoggers(dataDir: string, config: Config): (tier: string) => Logger {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const dest = resolve(dataDir, 'laurel.log');
  const file = pino.destination({ dest, mode: 0o600, sync: true }); // it is there at once, and whole when the process ends
  chmodSync(dest, 0o600); // one of an earlier version was open to all
  // A full disk ends nobody.
  file.on('error', (error: unknown) => console.error(`${dest} cannot be written: ${String(error)}`));
  const level = config.LOG_LEVEL === 'silent' ? 'fatal' : config.LOG_LEVEL;
  const destination = multistream([
    { level, stream: file },
    { level: 'error', stream: process.stderr },
  ]);
  // Not children of one logger: pino writes what a child binds beside what its parent has bound, `tier` twice.
  return (tier) => createLogger(tier, config.LOG_LEVEL, destination);
}

/** An empty variable counts as not set, here as everywhere. */
const definedOnly = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ''));

start().catch((error: unknown) => {
  const forPeople =
    error instanceof ConfigError || error instanceof StackError || error instanceof NameBelongsToAnother;
  const message =
    error instanceof Error ? (forPeople ? error.message : (error.stack ?? error.message)) : String(error);
  console.error(`\n  ${error instanceof AlreadyRunning ? '' : 'Laurel could not start.\n\n  '}${message}\n`);
  process.exit(1);
});
