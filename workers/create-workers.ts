import { Worker, type Job } from 'bullmq';
import { BoardIndex } from '../common/board/board-index.ts';
import { BoardTable } from '../common/board/board-table.ts';
import { Catalog } from '../common/catalog.ts';
import { Clock } from '../common/clock.ts';
import { ConfigError, type Config } from '../common/config.ts';
import { EventListener } from '../common/events.ts';
import { createHealth, type Health } from '../common/health.ts';
import { JobSignatures } from '../common/job-signatures.ts';
import type { Logger } from '../common/logger.ts';
import { createMetrics } from '../common/metrics.ts';
import { untilDone } from '../common/patience.ts';
import { createDatabase } from '../common/postgres.ts';
import { MAINTENANCE_QUEUE, partitionQueue, Queues } from '../common/queues.ts';
import { closeRedis, createRedis, isRedisAway, untilReady } from '../common/redis.ts';
import { watchRedisSafety } from '../common/redis-safety.ts';
import { schemaCheck } from '../common/schema.ts';
import { Shutdown } from '../common/shutdown.ts';
import { ProfileCache } from '../common/users/profile-cache.ts';
import { GroupCommit } from './completions/group-commit.ts';
import { Ledger } from './completions/ledger.ts';
import { createPartitionProcessor } from './completions/partition-processor.ts';
import { Publisher } from './completions/publisher.ts';
import { RankRecorder } from './completions/rank-recorder.ts';
import { SetAside } from './completions/set-aside.ts';
import { expectedBoards, IndexKeeper } from './maintenance/index-keeper.ts';
import { PausedQueues } from './maintenance/paused-queues.ts';
import { createMaintenanceProcessor, upsertSchedules } from './maintenance/processor.ts';
import { countDead } from './maintenance/sweep.ts';
import { UserOutbox } from './maintenance/user-outbox.ts';

/**
 * A killed worker's partition moves on after at most the lock's life and one look for stalled jobs. A partition that
 * stalls is never at fault, so that no number of stalls fails its job.
 */
const liveness = { lockDuration: 3000, stalledInterval: 1500, maxStalledCount: 1_000_000, drainDelay: 5 };

/** How long Redis may take to answer at the start, milliseconds. */
const START_TIMEOUT_MS = 30_000;

export interface Workers {
  readonly health: Health;
  /** Finishes the jobs in hand, or puts them back at the head of their line, and closes every connection. */
  close(): Promise<void>;
}

/** The tier that changes scores: completions by partition, and the upkeep of the stores. */
export async function createWorkers(config: Config, log: Logger): Promise<Workers> {
  if (config.ACTION_TOKEN_SECRETS.length === 0) {
    throw new ConfigError(
      'ACTION_TOKEN_SECRETS is required: workers take only jobs that the API signed. Give all tiers the same.',
    );
  }
  const shutdown = new Shutdown(log);
  const ending = new AbortController();
  const metrics = createMetrics('workers');
  const redisUrl = config.REDIS_URL ?? '';

  const db = createDatabase(config, 'workers');
  shutdown.defer('postgres', () => db.destroy());
  const redis = createRedis(redisUrl, 'commands', log, config.REDIS_PREFIX);
  shutdown.defer('redis', () => closeRedis(redis));
  const blocking = createRedis(redisUrl, 'blocking', log, config.REDIS_PREFIX);
  shutdown.defer('redis queues', () => closeRedis(blocking));
  const subscriber = createRedis(redisUrl, 'subscriber', log, config.REDIS_PREFIX);
  shutdown.defer('redis events', () => closeRedis(subscriber));
  let risks: () => readonly string[];
  try {
    await Promise.all([redis, blocking, subscriber].map((client) => untilReady(client, START_TIMEOUT_MS)));
    risks = await watchRedisSafety(redis, config, log);
  } catch (error) {
    await shutdown.run();
    throw error;
  }

  const queues = new Queues(redis, config.QUEUE_PARTITIONS);
  shutdown.defer('queues', () => queues.close());
  const schema = schemaCheck(db, log);
  const catalog = new Catalog(db, log);
  shutdown.defer('catalog', () => Promise.resolve(catalog.stop()));
  const events = new EventListener(subscriber, log);
  await catalog.start(events);

  const index = new BoardIndex(redis);
  const cache = new ProfileCache(redis);
  const table = new BoardTable(db);
  const signatures = new JobSignatures(config.ACTION_TOKEN_SECRETS);
  const setAsides = metrics.counter(
    'laurel_completions_set_aside_total',
    'Completions and jobs that no worker can take, by reason.',
    ['reason'] as const,
  );
  metrics.gauge(
    'laurel_dead_completions',
    'Completions that were set aside and that no administrator has looked after yet.',
    [],
    async (gauge) => {
      const count = await countDead(db).catch(() => undefined);
      if (count !== undefined) gauge.set(count);
    },
  );
  const aside = new SetAside({ db, redis, log, onSetAside: (reason) => setAsides.inc({ reason }) });
  const ledger = new Ledger(db, { signatures, aside });
  const recorder = new RankRecorder(ledger, log);
  shutdown.defer('ranks', () => recorder.close());
  const clock = new Clock(redis, log);
  shutdown.defer('clock', () => Promise.resolve(clock.stop()));
  await clock.start();
  metrics.gauge(
    'laurel_clock_skew_seconds',
    'How far this process’s clock is ahead of Redis’s, which stamps starts and completions.',
    [],
    (gauge) => gauge.set(clock.skewSeconds),
  );
  const publisher = new Publisher(redis, index, table, recorder, () => clock.now());

  const batchSizes = metrics.histogram(
    'laurel_completion_batch_size',
    'Completions applied in one transaction.',
    [],
    [1, 2, 5, 10, 20, 50, 100, 200],
  );
  const finished = metrics.counter('laurel_jobs_total', 'Jobs ended, by queue and outcome.', [
    'queue',
    'outcome',
  ] as const);
  metrics.gauge(
    'laurel_queue_jobs',
    'Jobs by queue and state.',
    ['queue', 'state'] as const,
    async (gauge) => {
      for (const queue of queues.all) {
        const counts = await queue.getJobCounts('waiting', 'active', 'failed', 'delayed').catch(() => ({}));
        for (const [state, count] of Object.entries(counts)) gauge.set({ queue: queue.name, state }, count);
      }
    },
  );

  metrics.gauge(
    'laurel_queue_oldest_seconds',
    'How long the oldest job has waited, by queue.',
    ['queue'] as const,
    async (gauge) => {
      for (const { queue, oldestMs } of await queues.backlog().catch(() => []))
        gauge.set({ queue }, oldestMs / 1000);
    },
  );

  metrics.gauge(
    'laurel_dead_corrections',
    'Corrections of scores that were accepted and that no worker takes.',
    [],
    async (gauge) => {
      const row = await db('queued_corrections')
        .whereNotNull('dead_at')
        .count<{ n: string }[]>('* as n')
        .catch(() => undefined);
      if (row) gauge.set(Number(row[0]?.n ?? 0));
    },
  );

  const paused = new PausedQueues(queues, log);
  shutdown.defer('paused queues', () => Promise.resolve(paused.stop()));
  await paused.start();
  metrics.gauge('laurel_queue_paused', '1 for a queue that somebody paused.', ['queue'] as const, (gauge) => {
    for (const { name } of queues.all) gauge.set({ queue: name }, paused.names.includes(name) ? 1 : 0);
  });

  const workers: Worker[] = [];
  const run = (
    name: string,
    process: (job: Job, token?: string) => Promise<unknown>,
    concurrency: number,
  ): void => {
    const worker = new Worker(name, process, {
      connection: blocking,
      prefix: blocking.names.prefix,
      skipVersionCheck: true, // it would print what it finds past our log
      concurrency,
      ...liveness,
    });
    worker.on('error', (error) => log.debug({ err: error, queue: name }, 'queue connection'));
    worker.on('completed', () => finished.inc({ queue: name, outcome: 'completed' }));
    worker.on('failed', (job, error) => {
      finished.inc({ queue: name, outcome: 'failed' });
      log.error({ err: error, queue: name, job: job?.id }, 'a job has failed for good; see Bull Board');
    });
    workers.push(worker);
  };

  // A Redis that is slow to answer at the start is waited for, as later.
  const insist = <T>(work: () => Promise<T>): Promise<T> => untilDone(work, isRedisAway, ending.signal);
  await insist(() => queues.serialize());
  const commits = new GroupCommit({
    ledger,
    publisher,
    log,
    signal: ending.signal,
    onBatch: (size) => batchSizes.observe(size),
  });
  queues.partitions.forEach((queue, partition) => {
    const processPartition = createPartitionProcessor({
      queue,
      redis,
      commits,
      ledger,
      publisher,
      index,
      catalog,
      signatures,
      aside,
      batchMax: config.COMPLETION_BATCH_MAX,
      log,
      signal: ending.signal,
    });
    run(partitionQueue(partition), processPartition, 1);
  });
  const closesLate = metrics.gauge(
    'laurel_season_close_late_seconds',
    'How long the period that is due the longest has waited to be closed and frozen; 0 when none is due.',
  );
  const maintain = createMaintenanceProcessor({
    catalog,
    index,
    table,
    db,
    redis,
    cache,
    queues,
    signatures,
    aside,
    log,
    signal: ending.signal,
    isBusy: () => commits.isBusy,
    archivedPlaces: config.ARCHIVED_PLACES,
    onClosed: (lateSeconds) => closesLate.set(lateSeconds),
    privacyDays: config.PRIVACY_RETENTION_DAYS,
    outsideTokenSeconds: config.JWT_OUTSIDE_TTL_SECONDS,
  });
  run(MAINTENANCE_QUEUE, maintain, 3);

  const schedule = (): Promise<void> => upsertSchedules(queues.maintenance, config.RECONCILE_EVERY_SECONDS);
  await insist(schedule);
  const keeper = new IndexKeeper({ catalog, index, queues, log, onLoss: schedule });
  keeper.start();
  const outbox = new UserOutbox({ db, redis, cache, queues, log });
  await outbox.start(events);

  shutdown.defer('workers', async () => {
    ending.abort();
    await Promise.all([keeper.stop(), outbox.stop()]);
    await Promise.all(workers.map((worker) => worker.close()));
  });

  return {
    health: createHealth(
      metrics,
      {
        postgres: async () => (await db.raw('select 1'), true),
        redis: async () => (await redis.ping()) === 'PONG',
        catalog: () => catalog.loaded,
        boards: async () => (await index.incomplete(expectedBoards(catalog))).length === 0,
        schema,
      },
      () => [...clock.warnings, ...paused.warnings, ...risks()],
    ),
    close: () => shutdown.run(),
  };
}
