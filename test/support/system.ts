import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Server } from 'node:http';
import { after, before } from 'mocha';
import { createApi } from '../../api/create-api.ts';
import type { DemoPlayer } from '../../api/pages.ts';
import { loadConfig } from '../../common/config.ts';
import { closeServer, listen } from '../../common/health.ts';
import { createHttpServer } from '../../common/http-server.ts';
import { createLogger } from '../../common/logger.ts';
import { createDatabase } from '../../common/postgres.ts';
import { seedCatalog } from '../../common/seed.ts';
import { createRealtime } from '../../realtime/create-realtime.ts';
import { createWorkers } from '../../workers/create-workers.ts';
import { eventually } from './eventually.ts';
import { asAppRole } from './postgres.ts';
import type { Stores } from './stores.ts';

export const ACTION_TOKEN_SECRET = 'tests-sign-action-tokens-with-this-0001';

/** Settings of tests: no limits unless a test is about them. */
const testEnvironment = {
  NODE_ENV: 'test',
  JWT_SECRETS: 'tests-sign-access-tokens-with-this-0001',
  ACTION_TOKEN_SECRETS: ACTION_TOKEN_SECRET,
  RATE_LIMIT_COMPLETE_PER_MINUTE: '0',
  RATE_LIMIT_START_PER_MINUTE: '0',
  RATE_LIMIT_READ_PER_MINUTE: '0',
  RATE_LIMIT_CANCEL_PER_MINUTE: '0',
  RATE_LIMIT_EXPORTS_PER_DAY: '0',
  RATE_LIMIT_IP_PER_MINUTE: '0',
  MAX_OPEN_ACTIONS: '10000',
  LOG_LEVEL: 'fatal',
  HOST: '127.0.0.1',
};

type Tier = 'api' | 'workers' | 'realtime';

/** One tier that answers HTTP at a port, in this process or in one of its own. */
export interface RunningTier {
  readonly url: string;
  /** of a tier in a process of its own */
  readonly process?: ChildProcess;
  stop(): Promise<void>;
}

/** The environment of a tier on a test's own stores. */
export function environmentOf(stores: Stores, env: Record<string, string> = {}): Record<string, string> {
  return {
    ...testEnvironment,
    DATABASE_URL: asAppRole(stores.databaseUrl),
    REDIS_URL: stores.redis.url,
    ...env,
  };
}

/** Starts a tier in this process, on a free port. */
export async function startTier(
  tier: Tier,
  stores: Stores,
  env: Record<string, string> = {},
): Promise<RunningTier> {
  const config = loadConfig(environmentOf(stores, env));
  const log = createLogger(tier, config.LOG_LEVEL);
  let server: Server;
  let close: () => Promise<void>;
  if (tier === 'api') {
    const api = await createApi(config, log);
    server = createHttpServer(api.handle, config);
    close = () => api.close();
  } else if (tier === 'workers') {
    const workers = await createWorkers(config, log);
    server = createHttpServer((request, response) => void workers.health.handle(request, response), config);
    close = () => workers.close();
  } else {
    const realtime = await createRealtime(config, log);
    server = createHttpServer((request, response) => {
      if (!realtime.health.handle(request, response)) realtime.handle(request, response);
    }, config);
    realtime.attach(server);
    close = () => realtime.close();
  }
  const port = await listen(server, 0, config.HOST, 'PORT');
  return {
    url: `http://127.0.0.1:${port}`,
    stop: async () => {
      await close();
      await closeServer(server, 100);
    },
  };
}

/** Starts a tier as a process of its own, as production does (from sources), and waits until it is ready. */
export async function spawnTier(
  tier: Tier,
  stores: Stores,
  env: Record<string, string> = {},
): Promise<RunningTier> {
  const child = spawn(process.execPath, ['--import', 'tsx', `${tier}/index.ts`], {
    env: {
      PATH: process.env['PATH'],
      ...environmentOf(stores, env),
      LOG_LEVEL: 'info',
      PORT: '0',
      REALTIME_PORT: '0',
      WORKERS_PORT: '0',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const port = await new Promise<number>((resolve, reject) => {
    child.once('exit', () => reject(new Error(`${tier} ended while starting:\n${output}`)));
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      const ready = /"port":(\d+).*(?:is|are) ready"/.exec(output);
      if (ready) resolve(Number(ready[1]));
    });
  });
  return {
    url: `http://127.0.0.1:${port}`,
    process: child,
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    },
  };
}

/** Both tiers that players talk to, on one port as in `npm start`. */
export interface RunningSite extends RunningTier {
  /** Ends the live tier, and with it the port, until `restart`. */
  stopRealtime(): Promise<void>;
  restartRealtime(): Promise<void>;
}

/** Starts the API, the page in `webRoot` and the live tier in this process, on one free port; with `demo` as `npm start` does. */
export async function startSite(
  stores: Stores,
  webRoot: string,
  env: Record<string, string> = {},
  demo?: DemoPlayer,
): Promise<RunningSite> {
  const config = loadConfig(environmentOf(stores, env));
  const log = createLogger('site', config.LOG_LEVEL);
  const api = await createApi(config, log, { webRoot, ...(demo && { demo }) });
  const open = async (port: number) => {
    const realtime = await createRealtime(config, log);
    const server = createHttpServer((request, response) => {
      if (!realtime.handle(request, response)) api.handle(request, response);
    }, config);
    realtime.attach(server);
    const bound = await listen(server, port, config.HOST, 'PORT');
    const close = async () => {
      await Promise.all([realtime.close(), closeServer(server, 100)]);
    };
    return { port: bound, close };
  };
  let live = await open(0);
  const { port } = live;
  return {
    url: `http://127.0.0.1:${port}`,
    stopRealtime: () => live.close(),
    restartRealtime: async () => {
      live = await open(port);
    },
    stop: async () => {
      await live.close();
      await api.close();
    },
  };
}

export interface SystemOptions {
  readonly api?: number;
  readonly workers?: number;
  readonly realtime?: number;
  readonly env?: Record<string, string>;
  /** each tier a process of its own, as in production; slower to start, and needed to kill one */
  readonly processes?: boolean;
  /** seeded action types may be completed by the client's own signature, which is off otherwise */
  readonly clientSigned?: boolean;
}

export interface System {
  readonly api: readonly RunningTier[];
  readonly workers: readonly RunningTier[];
  readonly realtime: readonly RunningTier[];
}

/**
 * Runs a whole system for the calling `describe` on the stores of `useStores()`: seeded, boards complete. Read it in
 * hooks and tests, after `useStores()` was called in the same describe.
 */
export function useSystem(stores: Stores, options: SystemOptions = {}): System {
  const system = { api: [] as RunningTier[], workers: [] as RunningTier[], realtime: [] as RunningTier[] };
  const start = options.processes ? spawnTier : startTier;

  before('start the system', async function () {
    this.timeout(60_000);
    await seed(stores.databaseUrl, options);
    const begin = (tier: Tier, count: number) =>
      Promise.all(Array.from({ length: count }, () => start(tier, stores, options.env)));
    const [workers, api, realtime] = await Promise.all([
      begin('workers', options.workers ?? 1),
      begin('api', options.api ?? 1),
      begin('realtime', options.realtime ?? 0),
    ]);
    system.workers.push(...workers);
    system.api.push(...api);
    system.realtime.push(...realtime);
    await eventually(
      async () => {
        for (const tier of [...workers, ...api, ...realtime]) {
          const response = await fetch(`${tier.url}/readyz`);
          if (!response.ok) throw new Error(`not ready: ${await response.text()}`);
        }
      },
      { timeoutMs: 20_000 },
    );
  });

  after('stop the system', async function () {
    this.timeout(30_000);
    await Promise.all([...system.api, ...system.realtime, ...system.workers].map((tier) => tier.stop()));
  });
  return system;
}

export async function seed(databaseUrl: string, { clientSigned = false } = {}): Promise<void> {
  const db = createDatabase({ DATABASE_URL: databaseUrl, DATABASE_POOL_MAX: 2 }, 'seed');
  try {
    await seedCatalog(db);
    if (clientSigned) await db('action_types').update({ client_signed: true });
  } finally {
    await db.destroy();
  }
}
