import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { io } from 'socket.io-client';
import { LaurelClient, type SocketFactory, type TransportName } from '../client/index.ts';
import { boardAt } from '../common/board/board.ts';
import { BoardTable } from '../common/board/board-table.ts';
import { createRedisServer, type RedisServer } from '../dev/redis.ts';
import { Balancer } from '../test/live/balancer.ts';
import { summarize } from './measure/latencies.ts';
import type { Options } from './options.ts';
import { createPlayers } from './players.ts';
import { figure, type Report } from './report.ts';
import { prepare, startStores, storesAt, withDatabase, withRedis } from './stores.ts';
import { startSystem, type System } from './system.ts';

const kinds = ['socket', 'sse', 'polling'] as const satisfies readonly TransportName[];
/** Who plays all the time, and who plays once after each fault: together no more than a board shows. */
const PLAYERS = 5;
const PROBES = 5;
const PAUSE_MS = 30;
const FROZEN_MS = 5000;
/** A viewer that does not show the true board by then is lost. */
const DEADLINE_MS = 60_000;

type Entries = readonly { readonly userId: string; readonly score: number }[];

interface Viewer {
  readonly kind: TransportName;
  readonly client: LaurelClient;
  /** every board that was shown, and when, as `performance.now()` counts */
  readonly seen: { readonly at: number; readonly entries: Entries }[];
}

interface Probe {
  readonly userId: string;
  readonly client: LaurelClient;
}

interface World {
  readonly redis: RedisServer;
  readonly system: System;
  readonly players: readonly LaurelClient[];
  readonly probes: readonly Probe[];
  readonly viewers: readonly Viewer[];
  readonly truth: () => Promise<string>;
}

/** What is done to the system in the midst of play. The last leaves one instance of the live tier. */
const faults: readonly [name: string, fault: (world: World) => Promise<void> | void][] = [
  [
    'Redis restarted',
    async ({ redis }) => {
      await redis.stop();
      await redis.start();
    },
  ],
  [
    'Redis killed, and started again',
    async ({ redis }) => {
      await redis.kill9();
      await redis.start();
    },
  ],
  [
    `Redis frozen for ${FROZEN_MS / 1000} s`,
    async ({ redis }) => {
      process.kill(redis.pid ?? 0, 'SIGSTOP');
      await delay(FROZEN_MS);
      process.kill(redis.pid ?? 0, 'SIGCONT');
    },
  ],
  ['FLUSHALL', ({ redis }) => withRedis(redis.url, async (client) => void (await client.flushall()))],
  [
    'one of two realtime processes killed',
    ({ system }) => void process.kill(system.realtime[0]?.pid ?? 0, 'SIGKILL'),
  ],
];

/** Breaks the system under play, and sees how soon after it is whole again everybody shows what Postgres says. */
export async function converge(options: Options): Promise<Report> {
  const viewersOfKind = options.size === 'smoke' ? 1 : 10;
  const seconds = new Map<string, number[]>();
  const note = (what: string, took: readonly number[]): void =>
    void seconds.set(what, [...(seconds.get(what) ?? []), ...took]);
  const lost: string[] = [];
  for (let round = 0; round < options.repeat; round += 1) {
    await withWorld(viewersOfKind, async (world) => {
      for (const [name, fault] of faults) {
        const { counted, shown, astray } = await measure(world, fault);
        note(`${name}: counted`, counted);
        for (const { kind, took } of shown) note(`${name}: ${kind}`, [took]);
        lost.push(...astray.map((kind) => `${name}: a viewer by ${kind} did not get to the true board`));
      }
    });
  }
  const columns = ['counted', ...kinds];
  return {
    name: 'converge',
    command: 'npm run bench -- converge',
    tables: [
      {
        title: `Seconds from recovery until new plays count, and until viewers show them: half / the slowest of ${viewersOfKind * options.repeat} viewers of a kind`,
        columns: ['', ...columns],
        rows: faults.map(([name]) => [
          name,
          ...columns.map((column) => {
            const { p50, max } = summarize(seconds.get(`${name}: ${column}`) ?? []);
            return `${figure(p50)} / ${figure(max)}`;
          }),
        ]),
      },
    ],
    notes: [
      `${PLAYERS} players play all the time, through the fault. ${PROBES} others play once each when it is over: shown means that a viewer has all of these.`,
      'Recovery: Redis answers again, goes on, or is empty; the process is dead.',
      'socket: the SDK as it comes; sse, polling: the SDK held to that (and, for sse, what is below it), asking every 1.5 s.',
      'At the end of each, every viewer’s board was that of Postgres.',
    ],
    data: Object.fromEntries(seconds),
    faults: lost,
  };
}

async function withWorld(viewersOfKind: number, use: (world: World) => Promise<void>): Promise<void> {
  const own = await startStores();
  const folder = join(tmpdir(), `laurel-bench-converge-${process.pid}`);
  const redis = await createRedisServer(folder);
  await redis.start();
  const stores = await storesAt(own.databaseUrl, redis.url);
  await prepare(own.databaseUrl);
  const system = await startSystem(stores, {
    api: 1,
    workers: 1,
    realtime: 2,
    env: {
      RATE_LIMIT_START_PER_MINUTE: '0',
      RATE_LIMIT_COMPLETE_PER_MINUTE: '0',
      RATE_LIMIT_READ_PER_MINUTE: '0',
      MAX_OPEN_ACTIONS: '10000',
    },
  });
  const balancer = await Balancer.start(system.realtime.map(({ url }) => url));
  const api = system.api[0]?.url ?? '';
  const everybody = (await createPlayers(own.databaseUrl, PLAYERS + PROBES)).map(({ userId, token }) => ({
    userId,
    client: new LaurelClient({ baseUrl: api, getToken: () => token }),
  }));
  const probes = everybody.splice(0, PROBES);
  const players = everybody.map(({ client }) => client);
  const viewers = kinds.flatMap((kind) =>
    Array.from({ length: viewersOfKind }, () => watch(kind, api, balancer.url)),
  );
  try {
    await withDatabase(own.databaseUrl, async (db) => {
      const table = new BoardTable(db);
      const truth = async () => textOf((await table.page(boardAt('global', 'all', 0), 0, 10)).entries);
      await use({ redis, system, players, probes, viewers, truth });
    });
  } finally {
    for (const { client } of viewers) client.close();
    for (const client of [...players, ...probes.map((probe) => probe.client)]) client.close();
    await balancer.stop();
    await system.stop();
    await redis.stop();
    await rm(folder, { recursive: true, force: true });
    await own.stop();
  }
}

const textOf = (entries: Entries): string => entries.map(({ userId, score }) => `${userId} ${score}`).join();

function watch(kind: TransportName, api: string, realtime: string): Viewer {
  const client = new LaurelClient({
    baseUrl: api,
    realtimeUrl: realtime,
    io: io as unknown as SocketFactory,
    transports: kinds.slice(kinds.indexOf(kind)),
  });
  const viewer: Viewer = { kind, client, seen: [] };
  client.watch('global').onChange(({ board }) => {
    viewer.seen.push({ at: performance.now(), entries: board.entries });
  });
  return viewer;
}

/** Plays once, however long it takes. @returns the player's score on the board of all */
async function play(client: LaurelClient): Promise<number> {
  for (;;) {
    const result = await client.play('COMPLETE_TASK').catch(() => undefined);
    if (result) return result.score.current;
    await delay(PAUSE_MS);
  }
}

interface Outcome {
  /** how long each play took that was made at the recovery, seconds */
  readonly counted: readonly number[];
  /** how long it took each viewer to show all of them */
  readonly shown: readonly { readonly kind: TransportName; readonly took: number }[];
  /** viewers who never had the board of Postgres */
  readonly astray: readonly TransportName[];
}

async function measure(world: World, fault: (world: World) => Promise<void> | void): Promise<Outcome> {
  const { players, probes, viewers, truth } = world;
  const began = performance.now();
  let on = true;
  const lines = players.map(async (client) => {
    while (on) {
      await play(client);
      await delay(PAUSE_MS);
    }
  });
  await until(() => viewers.every(({ seen }) => (seen.at(-1)?.at ?? 0) > began));
  await fault(world);
  const recovered = performance.now();
  const secondsTo = (at: number): number => Math.max(0, at - recovered) / 1000;
  const counted: number[] = [];
  const scores = new Map<string, number>();
  await Promise.all(
    probes.map(async ({ userId, client }) => {
      scores.set(userId, await play(client));
      counted.push(secondsTo(performance.now()));
    }),
  );
  const holds = ({ entries }: Viewer['seen'][number]): boolean =>
    entries.filter(({ userId, score }) => score === scores.get(userId)).length === PROBES;
  await until(() => viewers.every(({ seen }) => seen.some(holds)));
  on = false;
  await Promise.all(lines);
  const isTrue = async ({ seen }: Viewer): Promise<boolean> =>
    textOf(seen.at(-1)?.entries ?? []) === (await truth());
  await until(async () => (await Promise.all(viewers.map(isTrue))).every(Boolean));
  const shown = viewers.map(({ kind, seen }) => ({
    kind,
    took: secondsTo(seen.find(holds)?.at ?? Infinity),
  }));
  const astray = await Promise.all(
    viewers.map(async (viewer) => ((await isTrue(viewer)) ? [] : [viewer.kind])),
  );
  for (const { seen } of viewers) seen.length = 0;
  return { counted, shown, astray: astray.flat() };
}

/** Waits until something is so, or has had its time. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = performance.now() + DEADLINE_MS; performance.now() < end; await delay(20))
    if (await holds()) return;
}
