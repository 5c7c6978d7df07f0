import { expect } from 'chai';
import { Queue, Worker } from 'bullmq';
import { after, before } from 'mocha';
import type { CompletionJob } from '../../common/queues.ts';
import { partitionOf, partitionQueue } from '../../common/queues.ts';
import { createRedis, closeRedis, type Redis } from '../../common/redis.ts';
import { createLogger } from '../../common/logger.ts';
import { newId } from '../../common/ids.ts';
import { eventually } from '../support/eventually.ts';
import { testSignatures } from '../support/jobs.ts';
import { useStores, type Stores } from '../support/stores.ts';
import { call, Player } from '../support/player.ts';
import { spawnTier, startTier, useSystem, type RunningTier } from '../support/system.ts';
import { Crowd, progress, withDatabase } from './crowd.ts';

const PARTITIONS = 2;
const patience = { timeoutMs: 40_000 };

/** Holds the score table until released, so that every partition stays in the middle of a transaction; they may share one. */
async function holdScores(stores: Stores, redis: Redis, while_: () => Promise<void>): Promise<void> {
  await withDatabase(stores, async (db) => {
    await db.transaction(async (trx) => {
      await trx.raw('lock table scores in exclusive mode');
      await eventually(async () => {
        const { rows } = await db.raw(
          `select count(*)::int as n from pg_stat_activity where datname = current_database()
           and wait_event_type = 'Lock' and query like '%apply_completions%'`,
        );
        expect(rows[0].n).to.be.at.least(1);
        for (let partition = 0; partition < PARTITIONS; partition += 1)
          expect(await redis.llen(`laurel:${partitionQueue(partition)}:active`)).to.equal(1);
      }, patience);
      await while_();
    });
  });
}

describe('workers that die, stall and leave', function () {
  this.timeout(120_000);
  const stores = useStores();
  const env = { QUEUE_PARTITIONS: String(PARTITIONS), COMPLETE_WAIT_MS: '30000' };
  const system = useSystem(stores, { api: 2, env });
  const apis = (): string[] => system.api.map(({ url }) => url);
  const spawned: RunningTier[] = [];
  const another = async (): Promise<RunningTier> => {
    const worker = await spawnTier('workers', stores, env);
    spawned.push(worker);
    return worker;
  };
  let redis: Redis;
  before(() => void (redis = createRedis(stores.redis.url, 'blocking', createLogger('test', 'silent'))));
  after(async () => {
    await Promise.all(spawned.map((worker) => worker.stop()));
    await closeRedis(redis);
  });

  it('moves on after kill -9 in the middle of a transaction: nothing lost, nothing twice, order kept', async () => {
    // The only worker at first, so that it holds both partitions when it dies.
    await system.workers[0]!.stop();
    const victim = await another();
    const crowd = await Crowd.of(20, stores, 'orphan');
    const load = crowd.playOn(apis());
    await progress(crowd, 20, patience.timeoutMs);
    await holdScores(stores, redis, async () => {
      victim.process!.kill('SIGKILL');
      await another();
    });
    await progress(crowd, 40, patience.timeoutMs);
    await load.stop();
    await crowd.expectAgreement();
    expect([...crowd.statuses]).to.have.members([200, 201]);
  });

  it('lets a stalled worker race its successor: nothing twice, order kept', async () => {
    const sleeper = spawned.at(-1)!;
    const crowd = await Crowd.of(20, stores, 'sleeper');
    const load = crowd.playOn(apis());
    await progress(crowd, 20, patience.timeoutMs);
    // Its transactions commit while it sleeps; it has told nobody when its successor takes the partitions.
    await holdScores(stores, redis, async () => {
      sleeper.process!.kill('SIGSTOP');
      await another();
    });
    await progress(crowd, 40, patience.timeoutMs);
    sleeper.process!.kill('SIGCONT');
    await progress(crowd, 40, patience.timeoutMs);
    await load.stop();
    await crowd.expectAgreement();
  });

  it('puts work back in order on SIGTERM', async () => {
    const crowd = await Crowd.of(20, stores, 'leaver');
    const load = crowd.playOn(apis());
    await progress(crowd, 20, patience.timeoutMs);
    const [, , , ...leavers] = [await another(), ...spawned];
    expect(leavers).to.have.length.above(0);
    for (const worker of spawned.slice(0, -1)) await worker.stop();
    await progress(crowd, 40, patience.timeoutMs);
    await load.stop();
    await crowd.expectAgreement();
  });

  it('fails a job that nobody can read, and one whose action does not exist changes nothing', async () => {
    const crowd = await Crowd.of(1, stores, 'poisoned');
    const userId = crowd.userIds[0]!;
    const queue = new Queue(partitionQueue(partitionOf(userId, PARTITIONS)), {
      connection: redis,
      prefix: redis.names.prefix,
    });
    try {
      const poison = await queue.add('completion', { kind: 'completion', userId, points: 1_000_000 });
      const forged = testSignatures.sign<CompletionJob>({
        kind: 'completion',
        actionId: newId(),
        userId,
        acceptedAt: Date.now(),
        tokenHash: 'ab'.repeat(32),
        ip: null,
        userAgent: null,
        replyTo: 'nobody',
      });
      await queue.add('completion', forged, { jobId: forged.actionId });
      const played = await crowd.playOne(apis()[0]!, userId);
      expect(played.body.score).to.deep.equal({ previous: 0, current: 10, delta: 10 });
      expect((await queue.getFailed()).map(({ id }) => id)).to.deep.equal([poison.id]);
      // The job keeps its partition's slot for a while, and ends only then.
      await eventually(async () =>
        expect((await queue.getJob(forged.actionId))?.returnvalue).to.deep.equal({ outcome: 'unknown' }),
      );
      await crowd.expectAgreement();
    } finally {
      await queue.close();
    }
  });
});

describe('a job that stalls again and again', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores, { workers: 0, env: { QUEUE_PARTITIONS: '1', COMPLETE_WAIT_MS: '0' } });

  it('is done all the same, by the worker that stays', async () => {
    const player = await Player.join(system.api[0]!.url);
    const started = await player.start(system.api[0]!.url);
    expect((await player.complete(system.api[0]!.url, started.body)).status).to.equal(202);
    const redis = createRedis(stores.redis.url, 'blocking', createLogger('test', 'silent'));
    try {
      // As a worker takes it and dies, for the third time.
      const connection = { connection: redis, prefix: redis.names.prefix };
      const dying = new Worker(partitionQueue(0), null, { ...connection, autorun: false, lockDuration: 100 });
      const job = await dying.getNextJob('nobody');
      expect(job?.id).to.equal(started.body.actionId);
      await redis.hset(dying.toKey(job!.id!), 'stc', 2);
      await dying.close(true);
      const worker = await startTier('workers', stores, { QUEUE_PARTITIONS: '1' });
      try {
        await eventually(async () => {
          const path = `/actions/${started.body.actionId}`;
          const { body } = await call(system.api[0]!.url, 'GET', path, { token: player.token });
          expect(body.status).to.equal('completed');
        }, patience);
        const metrics = await (await fetch(`${worker.url}/metrics`)).text();
        expect(metrics).not.to.match(/laurel_jobs_total\{[^}]*outcome="failed"/);
      } finally {
        await worker.stop();
      }
    } finally {
      await closeRedis(redis);
    }
  });
});
