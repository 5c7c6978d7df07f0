import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parse } from 'yaml';
import { freePort } from '../dev/ports.ts';
import { root } from './build.ts';
import type { BenchStores } from './stores.ts';

/** Secrets of one run of the benchmarks; the generator mints its players' tokens with them. */
export const secrets = {
  JWT_SECRETS: randomBytes(48).toString('base64'),
  ACTION_TOKEN_SECRETS: randomBytes(48).toString('base64'),
};

export interface ServerProcess {
  readonly name: string;
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/** A worker that has a million users to put into Redis is ready only then. */
const READY_MS = 180_000;
const STOP_MS = 10_000;

/** Every server that runs, so that an interrupted benchmark leaves none behind. */
const running = new Set<ServerProcess>();

export async function stopAllServers(): Promise<void> {
  await Promise.all([...running].map((server) => server.stop()));
}

/** Starts a server as a process of its own and waits until it says at `/readyz` that it can serve. */
export async function startServer(
  name: string,
  args: readonly string[],
  portVariable: string,
  env: Record<string, string>,
): Promise<ServerProcess> {
  const port = await freePort();
  const child = spawn(process.execPath, args, {
    cwd: root,
    env: { PATH: process.env['PATH'], HOST: '127.0.0.1', ...env, [portVariable]: String(port) },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors = (errors + chunk.toString()).slice(-4000)));
  const server: ServerProcess = {
    name,
    url: `http://127.0.0.1:${port}`,
    pid: child.pid ?? 0,
    stop: async () => {
      running.delete(server);
      await end(child);
    },
  };
  running.add(server);
  for (const deadline = Date.now() + READY_MS; ; await delay(50)) {
    if (child.exitCode !== null || Date.now() > deadline) {
      await server.stop();
      throw new Error(`${name} did not become ready:\n${errors}`);
    }
    const response = await fetch(`${server.url}/readyz`).catch(() => undefined);
    await response?.arrayBuffer();
    if (response?.ok) return server;
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  await ended;
  clearTimeout(timer);
}

export type Tier = 'api' | 'workers' | 'realtime';

export interface SystemPlan {
  readonly api?: number;
  readonly workers?: number;
  readonly realtime?: number;
  readonly env?: Record<string, string>;
  /** from the sources, for a test that must not wait for a build; else from dist/, as in production */
  readonly fromSources?: boolean;
  /** a folder into which each process writes its CPU profile when it ends */
  readonly profiles?: string | undefined;
}

export interface System {
  readonly api: readonly ServerProcess[];
  readonly workers: readonly ServerProcess[];
  readonly realtime: readonly ServerProcess[];
  stop(): Promise<void>;
}

/** The environment of a tier: production's, with the limits of production but for the one address that all load comes from. */
export function environmentOf(stores: BenchStores): Record<string, string> {
  return {
    NODE_ENV: 'production',
    DATABASE_URL: stores.databaseUrl,
    REDIS_URL: stores.redisUrl,
    RATE_LIMIT_IP_PER_MINUTE: '0',
    ...secrets,
  };
}

/** What stands between `node` and its file in docker-compose.yml: how production runs a tier. */
export function nodeFlagsOf(tier: Tier): string[] {
  const { services } = parse(readFileSync(join(root, 'docker-compose.yml'), 'utf8'), { merge: true }) as {
    services: Record<Tier, { command: string[] }>;
  };
  return services[tier].command.slice(1, -1);
}

/** Starts the tiers as production does, each a process of its own. */
export async function startSystem(stores: BenchStores, plan: SystemPlan): Promise<System> {
  const env = { ...environmentOf(stores), ...plan.env };
  const start = (tier: Tier, variable: string, count: number): Promise<ServerProcess[]> =>
    Promise.all(
      Array.from({ length: count }, (_, n) =>
        startServer(
          tier,
          [
            ...nodeFlagsOf(tier),
            ...(plan.profiles === undefined
              ? []
              : ['--cpu-prof', `--cpu-prof-dir=${plan.profiles}`, `--cpu-prof-name=${tier}-${n}.cpuprofile`]),
            ...(plan.fromSources ? ['--import', 'tsx', `${tier}/index.ts`] : [`dist/${tier}/index.js`]),
          ],
          variable,
          env,
        ),
      ),
    );
  const [workers, api, realtime] = await Promise.all([
    start('workers', 'WORKERS_PORT', plan.workers ?? 0),
    start('api', 'PORT', plan.api ?? 0),
    start('realtime', 'REALTIME_PORT', plan.realtime ?? 0),
  ]);
  return {
    api,
    workers,
    realtime,
    stop: async () => {
      await Promise.all([...api, ...realtime].map((server) => server.stop()));
      await Promise.all(workers.map((server) => server.stop()));
    },
  };
}
