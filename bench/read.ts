import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startBare, startBaseline } from './baseline/baseline.ts';
import { readRepeatedly, type ReadOrder, type Reads } from './generators/reads.ts';
import { usageOf, type Usage } from './measure/processes.ts';
import { summarizeProfiles } from './measure/profile.ts';
import type { Options } from './options.ts';
import { createPlayers, type BenchPlayer } from './players.ts';
import { span, type Report, type Table } from './report.ts';
import { seedScores, seedUsers } from './seed.ts';
import { settleStores, startStores, withDatabase, type BenchStores } from './stores.ts';
import { startSystem, type ServerProcess } from './system.ts';

const CONNECTIONS = 64;
const PATH = '/api/v1/leaderboards/global?limit=10';
const BOARD_USERS = 10_000;
const PLAYERS = 1000;
const BOARDS = 200;
/** High enough that nobody is refused, so that every read is counted as in production. */
const WITH_LIMITS = {
  RATE_LIMIT_IP_PER_MINUTE: '1000000',
  RATE_LIMIT_READ_PER_MINUTE: '1000000',
  TRUSTED_PROXIES: '1',
};

interface Read extends Reads {
  /** of the server, milliseconds a request */
  readonly serverCpuMs: number;
  /** of Redis, milliseconds a request */
  readonly redisCpuMs: number;
  readonly rssMb: number;
}

type Requests = NonNullable<ReadOrder['requests']>;

/** What readers ask for in production, with its limits on. Addresses and players take turns. */
function kindsOfReads(players: readonly BenchPlayer[]): Readonly<Record<string, Requests>> {
  const address = (i: number): string => `198.51.${i >> 8}.${i & 255}`;
  const signedIn = (path: string): Requests =>
    players.map(({ token }, i) => ({
      path,
      headers: { authorization: `Bearer ${token}`, 'x-forwarded-for': address(i) },
    }));
  const anonymous = (paths: readonly string[]): Requests =>
    players.map((_, i) => ({
      path: paths[i % paths.length] ?? PATH,
      headers: { 'x-forwarded-for': address(i) },
    }));
  const boards = Array.from({ length: BOARDS }, (_, i) => `/api/v1/leaderboards/bench-${i}?limit=10`);
  return {
    'anonymous, one board': anonymous([PATH]),
    [`anonymous, ${BOARDS} boards in turn`]: anonymous(boards),
    [`${PLAYERS} players, the top 10`]: signedIn(PATH),
    [`${PLAYERS} players, where they stand`]: signedIn('/api/v1/leaderboards/global/users/me'),
    [`${PLAYERS} players, five neighbours on each side`]: signedIn(
      '/api/v1/leaderboards/global/users/me?neighbors=5',
    ),
  };
}

/** GET of the top 10 from one API process, from the baseline, and the same answer from node's own server alone; and other reads. */
export async function read(options: Options): Promise<Report> {
  const stores = await startStores();
  try {
    await seedUsers(stores.databaseUrl, BOARD_USERS);
    await seedScores(stores.databaseUrl, 'global', 'all', BOARD_USERS);
    const players = await createPlayers(stores.databaseUrl, PLAYERS);
    await seedBoards(stores, players);
    const laurel: Read[] = [];
    const baseline: Read[] = [];
    const bare: Read[] = [];
    const kinds = new Map<string, Read[]>();
    const profiles = options.profile ? await mkdtemp(join(tmpdir(), 'laurel-bench-profiles-')) : undefined;
    for (let i = 0; i < options.repeat; i += 1) {
      const system = await startSystem(stores, { api: 1, workers: 1, profiles });
      try {
        await settleStores(stores);
        const server = first(system.api);
        laurel.push(await measure(stores, server, options.seconds));
        bare.push(await measureAlone(stores, await startBare(server.url + PATH), options.seconds));
      } finally {
        await system.stop();
      }
      const limited = await startSystem(stores, { api: 1, workers: 1, env: WITH_LIMITS });
      try {
        for (const [kind, requests] of Object.entries(kindsOfReads(players))) {
          const reads = await measure(stores, first(limited.api), options.seconds, requests);
          kinds.set(kind, [...(kinds.get(kind) ?? []), reads]);
        }
      } finally {
        await limited.stop();
      }
      const server = await startBaseline(stores, players.slice(0, 100), {
        boards: 'one',
        processes: 1,
        scores: 100,
      });
      baseline.push(await measureAlone(stores, server, options.seconds));
    }
    const costs = profiles === undefined ? [] : summarizeProfiles(profiles);
    if (profiles !== undefined) await rm(profiles, { recursive: true, force: true });
    return report(options, { laurel, baseline, bare }, kinds, costs);
  } finally {
    await stores.stop();
  }
}

const first = (servers: readonly ServerProcess[]): ServerProcess => {
  const [server] = servers;
  if (!server) throw new Error('no API process was started');
  return server;
};

/** Gives the players scores on the global board, and makes as many other boards as readers take turns at. */
async function seedBoards({ databaseUrl }: BenchStores, players: readonly BenchPlayer[]): Promise<void> {
  await withDatabase(databaseUrl, async (db) => {
    await db.raw(
      `insert into leaderboards (key, title, periods)
       select 'bench-' || n, 'Bench ' || n, '{all}' from generate_series(0, :boards::int - 1) n`,
      { boards: BOARDS },
    );
    await db.raw(
      `insert into board_periods (leaderboard, period, starts_at)
       select 'bench-' || n, 'all', timestamptz '1970-01-01 00:00:00+00' from generate_series(0, :boards::int - 1) n`,
      { boards: BOARDS },
    );
    await db.raw(
      `insert into scores (board_period_id, user_id, score, reached_at)
       select b.id, u.id, 10 * u.n, now() - u.n * interval '1 millisecond'
       from unnest(:ids::text[]) with ordinality u(id, n)
       join board_periods b on b.period = 'all' and (b.leaderboard = 'global' or (b.leaderboard like 'bench-%' and u.n <= 20))`,
      { ids: players.map(({ userId }) => userId) },
    );
    await db.raw('analyze leaderboards, board_periods, scores');
  });
}

async function measure(
  stores: BenchStores,
  server: ServerProcess,
  seconds: number,
  requests?: Requests,
): Promise<Read> {
  const order = {
    url: server.url + PATH,
    connections: CONNECTIONS,
    ...(requests !== undefined && { requests }),
  };
  await readRepeatedly({ ...order, seconds: Math.max(1, Math.ceil(seconds / 6)) });
  const usages = (): readonly [Usage, Usage] => [usageOf(server.pid), usageOf(stores.pids.redis)];
  const [before, redisBefore] = usages();
  const reads = await readRepeatedly({ ...order, seconds });
  const [after, redisAfter] = usages();
  const count = reads.perSecond * seconds;
  return {
    ...reads,
    serverCpuMs: (after.cpuMs - before.cpuMs) / count,
    redisCpuMs: (redisAfter.cpuMs - redisBefore.cpuMs) / count,
    rssMb: after.rssMb,
  };
}

/** Measures a server, and stops it. */
async function measureAlone(stores: BenchStores, server: ServerProcess, seconds: number): Promise<Read> {
  try {
    return await measure(stores, server, seconds);
  } finally {
    await server.stop();
  }
}

function report(
  options: Options,
  { laurel, baseline, bare }: Readonly<Record<'laurel' | 'baseline' | 'bare', readonly Read[]>>,
  kinds: ReadonlyMap<string, readonly Read[]>,
  costs: readonly Table[],
): Report {
  const row = (name: string, reads: readonly Read[]): string[] => [
    name,
    span(reads.map(({ perSecond }) => perSecond)),
    span(reads.map(({ p50 }) => p50)),
    span(reads.map(({ p99 }) => p99)),
    span(reads.map(({ serverCpuMs }) => serverCpuMs * 1000)),
    span(reads.map(({ redisCpuMs }) => redisCpuMs * 1000)),
    span(reads.map(({ generatorCpuMs }) => generatorCpuMs * 1000)),
    span(reads.map(({ rssMb }) => rssMb)),
    span(reads.map(({ errors }) => errors)),
  ];
  const columns = [
    '',
    'requests/s',
    'p50 ms',
    'p99 ms',
    'server CPU µs',
    'Redis CPU µs',
    'generator CPU µs',
    'RSS MB',
    'errors',
  ];
  const ratioTo = (others: readonly Read[]): string =>
    span(laurel.map(({ perSecond }, i) => perSecond / (others[i]?.perSecond ?? NaN)));
  return {
    name: 'read',
    command: `npm run bench -- read --seconds ${options.seconds} --repeat ${options.repeat}`,
    tables: [
      {
        title: `GET top 10, one API process, ${CONNECTIONS} connections, ${options.seconds} s, least – most of ${options.repeat}`,
        columns,
        rows: [
          row('Laurel', laurel),
          row('baseline', baseline),
          row('node:http alone', bare),
          ['Laurel / baseline', ratioTo(baseline), '', '', '', '', '', '', ''],
          ['Laurel / node:http alone', ratioTo(bare), '', '', '', '', '', '', ''],
        ],
      },
      {
        title: `Reads as in production, with limits on: one API process, ${CONNECTIONS} connections, ${options.seconds} s, least – most of ${options.repeat}`,
        columns,
        rows: [...kinds].map(([kind, reads]) => row(kind, reads)),
      },
      ...costs,
    ],
    notes: [
      'The first table asks for one address again and again with the limit an address switched off: an anonymous read then needs nothing but this process’s memory. The second is what readers of many boards, and players, see.',
      'autocannon measures latencies in whole milliseconds.',
      'node:http alone: a server without a framework that sends the same headers and body, whatever it is asked.',
    ],
    data: { laurel, baseline, bare, kinds: Object.fromEntries(kinds) },
    faults: [...laurel, ...baseline, ...bare, ...[...kinds.values()].flat()].flatMap(({ errors }) =>
      errors > 0 ? [`${errors} reads failed`] : [],
    ),
  };
}
