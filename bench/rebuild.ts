import { setTimeout as delay } from 'node:timers/promises';
import { BoardIndex } from '../common/board/board-index.ts';
import type { BoardRef } from '../common/board/board.ts';
import { Queues } from '../common/queues.ts';
import { createLogger } from '../common/logger.ts';
import { closeRedis, createRedis, untilReady } from '../common/redis.ts';
import type { Database } from '../common/postgres.ts';
import { HttpLine } from './generators/http-line.ts';
import { summarize, type Latency } from './measure/latencies.ts';
import { usageOf } from './measure/processes.ts';
import type { Options } from './options.ts';
import { createPlayers } from './players.ts';
import { reconciliationsToEnd } from './reconciliations.ts';
import { figure, type Report } from './report.ts';
import { seedScores, seedUsers } from './seed.ts';
import { settleStores, startStores, withDatabase, withRedis, type BenchStores } from './stores.ts';
import { startSystem, type System } from './system.ts';

interface Rebuilt {
  readonly rows: number;
  /** from FLUSHALL to the last board being complete */
  readonly seconds: number;
  /** of reads meanwhile */
  readonly reads: Latency;
  readonly failedReads: Readonly<Record<string, number>>;
}

interface Reconciled {
  readonly compared: number;
  readonly drifted: number;
  readonly seconds: number;
  /** what the worker process had before, and the most it had */
  readonly rssBeforeMb: number;
  readonly rssPeakMb: number;
}

const READ_EVERY_MS = 20;

/** Redis emptied under a large board set, with readers; then everything compared, with nothing wrong. */
export async function rebuild(options: Options): Promise<Report> {
  const users = options.size === 'smoke' ? 5000 : 1_000_000;
  const stores = await startStores();
  try {
    await seedUsers(stores.databaseUrl, users);
    const boards = [
      await seedScores(stores.databaseUrl, 'global', 'all', users),
      await seedScores(stores.databaseUrl, 'global', 'monthly', Math.ceil(users / 4)),
      await seedScores(stores.databaseUrl, 'global', 'weekly', Math.ceil(users / 10)),
      await seedScores(stores.databaseUrl, 'global', 'daily', Math.ceil(users / 40)),
    ];
    await settleStores(stores);
    return await withDatabase(stores.databaseUrl, async (db) => {
      const rebuilt = await withSystem(stores, 1, async (system, queues) => {
        await reconciliationsToEnd(db, 1);
        await untilNoneReconciles(queues);
        return measureRebuild(stores, system, queues, boards);
      });
      // In a process of its own: one that has made a million rows again keeps memory of that.
      const reconciled = await withSystem(stores, 0, async (system, queues) => {
        await untilNoneReconciles(queues);
        return measureReconcile(system, queues, db);
      });
      return report(options, users, rebuilt, reconciled);
    });
  } finally {
    await stores.stop();
  }
}

async function withSystem<T>(
  stores: BenchStores,
  api: number,
  measure: (system: System, queues: Queues) => Promise<T>,
): Promise<T> {
  const system = await startSystem(stores, {
    api,
    workers: 1,
    env: { RATE_LIMIT_READ_PER_MINUTE: '0', RECONCILE_EVERY_SECONDS: '86400' },
  });
  const redis = createRedis(stores.redisUrl, 'commands', createLogger('bench', 'error'));
  const queues = new Queues(redis, 8);
  try {
    await untilReady(redis, 5000);
    return await measure(system, queues);
  } finally {
    await queues.close();
    await closeRedis(redis);
    await system.stop();
  }
}

/** Laurel reconciles by itself after a start and after a loss: none of that is what is measured. */
async function untilNoneReconciles(queues: Queues): Promise<void> {
  for (;;) {
    const jobs = await queues.maintenance.getJobs(['active', 'waiting', 'prioritized']);
    if (!jobs.some(({ name }) => name === 'reconcile')) return;
    await delay(50);
  }
}

async function measureRebuild(
  stores: BenchStores,
  system: System,
  queues: Queues,
  boards: readonly BoardRef[],
): Promise<Rebuilt> {
  const [player] = await createPlayers(stores.databaseUrl, 1);
  const redis = createRedis(stores.redisUrl, 'commands', createLogger('bench', 'error'));
  await untilReady(redis, 5000);
  const index = new BoardIndex(redis);
  const took: number[] = [];
  const failedReads: Record<string, number> = {};
  let over = false;
  const readers = ['?limit=10', '?limit=10&offset=5000', '/users/me?neighbors=5'].map(async (path) => {
    const line = new HttpLine(system.api[0]?.url ?? '');
    while (!over) {
      const begun = performance.now();
      const { status } = await line
        .send('GET', `/api/v1/leaderboards/global${path}`, player?.token ?? '')
        .catch((error: unknown) => ({ status: String(error) }));
      took.push(performance.now() - begun);
      if (status !== 200) failedReads[`${path} ${status}`] = (failedReads[`${path} ${status}`] ?? 0) + 1;
      await delay(READ_EVERY_MS);
    }
    await line.close();
  });
  const begun = performance.now();
  await withRedis(stores.redisUrl, (client) => client.flushall());
  while ((await index.incomplete(boards)).length > 0) await delay(50);
  const seconds = (performance.now() - begun) / 1000;
  over = true;
  await Promise.all(readers);
  const totals = await Promise.all(boards.map((board) => index.page(board, 0, 0)));
  await closeRedis(redis);
  await untilNoneReconciles(queues);
  return {
    rows: totals.reduce((sum, { total }) => sum + total, 0),
    seconds,
    reads: summarize(took),
    failedReads,
  };
}

async function measureReconcile(system: System, queues: Queues, db: Database): Promise<Reconciled> {
  const worker = system.workers[0]?.pid ?? 0;
  const rssBeforeMb = usageOf(worker).rssMb;
  let rssPeakMb = rssBeforeMb;
  const watch = setInterval(() => (rssPeakMb = Math.max(rssPeakMb, usageOf(worker).rssMb)), 20);
  const begun = performance.now();
  await queues.requestMaintenance('reconcile', { trigger: 'cli' });
  const ended = () =>
    db<{ compared: string; drifted: string }>('reconciliations')
      .where('trigger', 'cli')
      .whereNotNull('finished_at')
      .first('compared', 'drifted');
  let last = await ended();
  for (; !last; last = await ended()) await delay(20);
  const seconds = (performance.now() - begun) / 1000;
  clearInterval(watch);
  return {
    compared: Number(last.compared),
    drifted: Number(last.drifted),
    seconds,
    rssBeforeMb,
    rssPeakMb,
  };
}

function report(options: Options, users: number, rebuilt: Rebuilt, reconciled: Reconciled): Report {
  const failed = Object.entries(rebuilt.failedReads).map(([what, times]) => `${times} x GET ${what}`);
  return {
    name: 'rebuild',
    command: `npm run bench -- rebuild${options.size === 'normal' ? '' : ` --size ${options.size}`}`,
    tables: [
      {
        title: `${figure(users)} users, ${figure(rebuilt.rows)} score rows on four boards`,
        columns: [
          '',
          'seconds',
          'rows/s',
          'worker RSS before MB',
          'most MB',
          'reads meanwhile',
          'p50 ms',
          'p99 ms',
          'failed',
        ],
        rows: [
          [
            'FLUSHALL until every board is complete',
            rebuilt.seconds,
            rebuilt.rows / rebuilt.seconds,
            '',
            '',
            rebuilt.reads.count,
            rebuilt.reads.p50,
            rebuilt.reads.p99,
            failed.length,
          ],
          [
            'reconcile, nothing wrong',
            reconciled.seconds,
            reconciled.compared / reconciled.seconds,
            reconciled.rssBeforeMb,
            reconciled.rssPeakMb,
            '',
            '',
            '',
            '',
          ],
        ],
      },
    ],
    notes: [
      'The boards: all-time with every user, monthly with a quarter, weekly with a tenth, daily with a fortieth of them.',
      'Reads meanwhile: top 10, a page at offset 5,000, and a user with neighbours, each every 20 ms.',
      'The worker that reconciles was started for it.',
    ],
    data: { users, rebuilt, reconciled },
    faults: [...failed, ...(reconciled.drifted === 0 ? [] : [`${reconciled.drifted} users drifted`])],
  };
}
