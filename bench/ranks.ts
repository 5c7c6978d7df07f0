import pg from 'pg';
import type { Redis } from '../common/redis.ts';
import { BoardIndex } from '../common/board/board-index.ts';
import { BoardTable } from '../common/board/board-table.ts';
import { boardAt, type BoardRef, type BoardSource, type Entry } from '../common/board/board.ts';
import { createLogger } from '../common/logger.ts';
import type { Database } from '../common/postgres.ts';
import { closeRedis, createRedis, untilReady } from '../common/redis.ts';
import { HttpLine } from './generators/http-line.ts';
import { summarize, type Latency } from './measure/latencies.ts';
import type { Options } from './options.ts';
import { createPlayers } from './players.ts';
import { reconciliationsToEnd } from './reconciliations.ts';
import { figure, type Report, type Table } from './report.ts';
import { seedScores, seedUsers } from './seed.ts';
import { settleStores, startStores, withDatabase, withRedis, type BenchStores } from './stores.ts';
import { startSystem } from './system.ts';

const CHUNK_ROWS = 2000;
const NEIGHBORS = 5;
const FALL_BACK_CALLS = 5;

interface Sized {
  readonly users: number;
  readonly bytesAMember: number;
  readonly loadSeconds: number;
  readonly latencies: Readonly<Record<string, Latency>>;
}

/** What readers ask of a board, each time another user or place. */
type Questions = Record<string, () => Promise<unknown>>;

/** Reads of boards of growing size: from Redis, over HTTP, and from Postgres when Redis is away. */
export async function ranks(options: Options): Promise<Report> {
  const smoke = options.size === 'smoke';
  const [small, large] = smoke ? [1000, 10_000] : [100_000, 1_000_000];
  const calls = smoke ? 50 : 5000;
  const stores = await startStores();
  try {
    await seedUsers(stores.databaseUrl, large);
    const boards = new Map([
      [small, await seedScores(stores.databaseUrl, 'game1', 'all', small)],
      [large, await seedScores(stores.databaseUrl, 'global', 'all', large)],
    ]);
    await settleStores(stores);
    const sizes: Sized[] = [];
    let http: Record<string, Latency> = {};
    let fallBack: FallBack[] = [];
    await withBoards(stores, async (redis, index, db) => {
      for (const [users, board] of boards) {
        const rows = new BoardTable(db).rows(board, CHUNK_ROWS);
        sizes.push(await measureIndex(redis, index, board, users, rows, calls));
      }
      fallBack = await measureTable(stores, db, boards.get(large) ?? boardAt('global', 'all', 0), large);
    });
    http = await measureHttp(stores, large, Math.min(calls, 2000));
    if (options.size === 'full') {
      // The system has made every board of Postgres in Redis; this one stands in Redis alone.
      await withRedis(stores.redisUrl, (redis) => redis.flushall());
      await withBoards(stores, async (redis, index) => {
        const huge = 10_000_000;
        sizes.push(
          await measureIndex(redis, index, boardAt('game2', 'all', 0), huge, syntheticRows(huge), calls),
        );
      });
    }
    return report(options, sizes, http, fallBack);
  } finally {
    await stores.stop();
  }
}

async function withBoards(
  stores: BenchStores,
  use: (redis: Redis, index: BoardIndex, db: Database) => Promise<void>,
): Promise<void> {
  const redis = createRedis(stores.redisUrl, 'commands', createLogger('bench', 'error'));
  await untilReady(redis, 5000);
  try {
    await withDatabase(stores.databaseUrl, (db) => use(redis, new BoardIndex(redis), db));
  } finally {
    await closeRedis(redis);
  }
}

/** Fills a board in Redis, weighs it, and reads it. */
async function measureIndex(
  redis: Redis,
  index: BoardIndex,
  board: BoardRef,
  users: number,
  rows: AsyncIterable<readonly Entry[]>,
  calls: number,
): Promise<Sized> {
  const before = await memoryOf(redis);
  const begun = performance.now();
  const attempt = await index.begin(board);
  if (attempt === undefined) throw new Error('The board stands in Redis already.');
  const known: Entry[] = [];
  for await (const chunk of rows) {
    await index.load(board, attempt, chunk);
    // Enough to ask about, from all over the board.
    const sample = chunk[Math.floor(Math.random() * chunk.length)];
    if (sample) known.push(sample);
  }
  await index.markComplete(board, attempt);
  const loadSeconds = (performance.now() - begun) / 1000;
  const bytesAMember = ((await memoryOf(redis)) - before) / users;
  const latencies: Record<string, Latency> = {};
  for (const [name, ask] of Object.entries(questions(index, board, users, known)))
    latencies[name] = await timed(ask, calls);
  return { users, bytesAMember, loadSeconds, latencies };
}

const memoryOf = async (redis: Redis): Promise<number> =>
  Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1] ?? 0);

function questions(source: BoardSource, board: BoardRef, users: number, known: readonly Entry[]): Questions {
  const deep = Math.floor(users * 0.9);
  const anyone = (): Entry =>
    known[Math.floor(Math.random() * known.length)] ?? { userId: '', score: 0, reachedAt: 0 };
  const [behind] = known.slice(Math.floor(known.length * 0.9));
  return {
    'top 10': () => source.page(board, 0, 10),
    'rank of a user': () => source.standings(board, [anyone().userId], 0),
    [`around a user (${2 * NEIGHBORS + 1})`]: () => source.standings(board, [anyone().userId], NEIGHBORS),
    'page of 10 at 90 % depth, by offset': () =>
      source.page(board, deep + Math.floor(Math.random() * 1000), 10),
    'page of 10 at 90 % depth, by cursor': () => source.after(board, behind ?? anyone(), 10),
  };
}

async function timed(ask: () => Promise<unknown>, calls: number): Promise<Latency> {
  for (let i = 0; i < Math.min(100, calls); i += 1) await ask();
  const took: number[] = [];
  for (let i = 0; i < calls; i += 1) {
    const begun = performance.now();
    await ask();
    took.push(performance.now() - begun);
  }
  return summarize(took);
}

/** Rows of no database, for a board that is weighed in Redis only. */
async function* syntheticRows(users: number): AsyncGenerator<Entry[]> {
  const now = Date.now();
  for (let first = 0; first < users; first += CHUNK_ROWS) {
    const size = Math.min(CHUNK_ROWS, users - first);
    yield await Promise.resolve(
      Array.from({ length: size }, (_, i) => {
        const n = first + i;
        return {
          userId: `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`,
          score: 10 * (1 + Math.floor(99_999 * (((n * 7919) % 1_000_003) / 1_000_003) ** 3)),
          reachedAt: now - n,
        };
      }),
    );
  }
}

/** The same questions over HTTP, one at a time, each path another, so that no page is in the API's memory. */
async function measureHttp(
  stores: BenchStores,
  users: number,
  calls: number,
): Promise<Record<string, Latency>> {
  const [player] = await createPlayers(stores.databaseUrl, 1);
  const ids = await withDatabase(stores.databaseUrl, async (db) => {
    const { rows } = await db.raw<{ rows: { user_id: string }[] }>(
      'select user_id from scores order by random() limit 5000',
    );
    return rows.map(({ user_id: id }) => id);
  });
  const system = await startSystem(stores, { api: 1, workers: 1, env: { RATE_LIMIT_READ_PER_MINUTE: '0' } });
  const line = new HttpLine(system.api[0]?.url ?? '');
  try {
    // Its comparison of a million rows is not what is measured here.
    await withDatabase(stores.databaseUrl, (db) => reconciliationsToEnd(db, 1));
    const get = async (path: string): Promise<string> => {
      const { status, body } = await line.send(
        'GET',
        `/api/v1/leaderboards/global${path}`,
        player?.token ?? '',
      );
      if (status !== 200) throw new Error(`GET ${path} was answered ${status}: ${body}`);
      return body;
    };
    const deep = Math.floor(users * 0.9);
    const firstCursor = cursorIn(await get(`?limit=10&offset=${deep}`));
    let cursor = firstCursor;
    let n = 0;
    const anyone = (): string => ids[(n += 1) % ids.length] ?? '';
    const asked: Questions = {
      'top 10': () => get('?limit=10'),
      'rank of a user': () => get(`/users/${anyone()}`),
      [`around a user (${2 * NEIGHBORS + 1})`]: () => get(`/users/${anyone()}?neighbors=${NEIGHBORS}`),
      'page of 10 at 90 % depth, by offset': () => get(`?limit=10&offset=${deep + 11 * (n += 1)}`),
      'page of 10 at 90 % depth, by cursor': async () => {
        cursor = cursorIn(await get(`?limit=10&cursor=${cursor}`)) ?? firstCursor;
      },
    };
    const latencies: Record<string, Latency> = {};
    for (const [name, ask] of Object.entries(asked))
      latencies[name] = await timed(ask, Math.min(calls, users / 200));
    return latencies;
  } finally {
    await line.close();
    await system.stop();
  }
}

const cursorIn = (body: string): string | null =>
  (JSON.parse(body) as { nextCursor: string | null }).nextCursor;

interface FallBack {
  readonly question: string;
  readonly latency: Latency;
  /** each statement that answers it */
  readonly plans: readonly {
    readonly ms: number;
    readonly buffers: number;
    readonly read: number;
    readonly nodes: string;
  }[];
}

/** The same questions to Postgres, as readers get them while Redis is away, and how Postgres goes about them. */
async function measureTable(
  stores: BenchStores,
  db: Database,
  board: BoardRef,
  users: number,
): Promise<FallBack[]> {
  const table = new BoardTable(db);
  const known: Entry[] = [];
  for (const share of [0.1, 0.3, 0.5, 0.7, 0.9])
    known.push(...(await table.page(board, Math.floor(users * share), 1)).entries);
  const client = new pg.Client({ connectionString: stores.databaseUrl });
  await client.connect();
  const statements: { sql: string; bindings: unknown[] }[] = [];
  db.on('query', ({ sql, bindings }: { sql: string; bindings: unknown[] }) =>
    statements.push({ sql, bindings }),
  );
  try {
    const found: FallBack[] = [];
    for (const [question, ask] of Object.entries(questions(table, board, users, known))) {
      const took: number[] = [];
      for (let i = 0; i < FALL_BACK_CALLS; i += 1) {
        statements.length = 0;
        const begun = performance.now();
        await ask();
        took.push(performance.now() - begun);
      }
      const plans = [];
      for (const { sql, bindings } of [...statements]) plans.push(await explain(client, sql, bindings));
      found.push({ question, latency: summarize(took), plans });
    }
    return found;
  } finally {
    db.removeAllListeners('query');
    await client.end();
  }
}

interface Plan {
  readonly 'Node Type': string;
  readonly 'Index Name'?: string;
  readonly 'Relation Name'?: string;
  readonly 'Actual Rows': number;
  readonly 'Actual Loops': number;
  readonly 'Shared Hit Blocks': number;
  readonly 'Shared Read Blocks': number;
  readonly Plans?: readonly Plan[];
}

async function explain(
  client: pg.Client,
  sql: string,
  bindings: unknown[],
): Promise<FallBack['plans'][number]> {
  const { rows } = await client.query<{ 'QUERY PLAN': { Plan: Plan; 'Execution Time': number }[] }>(
    `explain (analyze, buffers, format json) ${sql}`,
    bindings,
  );
  const [top] = rows[0]?.['QUERY PLAN'] ?? [];
  if (!top) throw new Error('Postgres did not explain itself.');
  const nodes: string[] = [];
  const walk = (plan: Plan): void => {
    const target = plan['Index Name'] ?? plan['Relation Name'];
    if (target !== undefined && !/board_periods/.test(target))
      nodes.push(
        `${plan['Node Type']} on ${target}, ${figure(plan['Actual Rows'] * plan['Actual Loops'])} rows`,
      );
    plan.Plans?.forEach(walk);
  };
  walk(top.Plan);
  return {
    ms: top['Execution Time'],
    buffers: top.Plan['Shared Hit Blocks'] + top.Plan['Shared Read Blocks'],
    read: top.Plan['Shared Read Blocks'],
    nodes: nodes.join('; '),
  };
}

function report(
  options: Options,
  sizes: readonly Sized[],
  http: Readonly<Record<string, Latency>>,
  fallBack: readonly FallBack[],
): Report {
  const asked = Object.keys(sizes[0]?.latencies ?? {});
  const pair = (latency: Latency | undefined): string =>
    latency ? `${figure(latency.p50)} / ${figure(latency.p99)}` : '-';
  const [first, last] = [sizes[0], sizes.at(-1)];
  const largest = sizes.filter(({ users }) => users <= 1_000_000).at(-1)?.users ?? 0;
  const tables: Table[] = [
    {
      title:
        'Redis, one question at a time: p50 / p99 ms, by users on the board; growth of p50 from the first to the last size',
      columns: ['', ...sizes.map(({ users }) => figure(users)), 'growth', `over HTTP, ${figure(largest)}`],
      rows: [
        ...asked.map((name) => [
          name,
          ...sizes.map(({ latencies }) => pair(latencies[name])),
          `${figure((last?.latencies[name]?.p50 ?? NaN) / (first?.latencies[name]?.p50 ?? NaN))} x`,
          pair(http[name]),
        ]),
        ['bytes a member in Redis', ...sizes.map(({ bytesAMember }) => figure(bytesAMember)), '', ''],
        ['seconds to load', ...sizes.map(({ loadSeconds }) => figure(loadSeconds)), '', ''],
      ],
    },
    {
      title: `Postgres, as readers are served while Redis is away, ${figure(largest)} users`,
      columns: ['', 'p50 ms', 'most ms', 'buffers'],
      rows: fallBack.map(({ question, latency, plans }) => [
        question,
        latency.p50,
        latency.max,
        plans.reduce((total, { buffers }) => total + buffers, 0),
      ]),
    },
  ];
  return {
    name: 'ranks',
    command: `npm run bench -- ranks --size ${options.size}`,
    tables,
    notes: [
      'User ids of 36 characters. Each member stands in a sorted set and in a hash.',
      ...fallBack.map(
        ({ question, plans }) =>
          `EXPLAIN ANALYZE, ${question}: ${plans.map(({ ms, nodes }) => `${figure(ms)} ms (${nodes})`).join('; then ')}.`,
      ),
    ],
    data: { sizes, http, fallBack },
    faults: [],
  };
}
