import { Worker } from 'bullmq';
import { expect } from 'chai';
import { after, before } from 'mocha';
import { createLogger } from '../../common/logger.ts';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { Queues } from '../../common/queues.ts';
import { closeRedis, createRedis, untilReady, type Redis } from '../../common/redis.ts';
import { JobSignatures } from '../../common/job-signatures.ts';
import { signedJob, testSignatures } from '../../test/support/jobs.ts';
import { useStores } from '../../test/support/stores.ts';
import { ACTION_TOKEN_SECRET, seed } from '../../test/support/system.ts';
import { readRow, SetAside } from '../completions/set-aside.ts';
import { sweepQueued } from './sweep.ts';
import { dropOldJobs, forgetKeys } from './upkeep.ts';

describe('upkeep', () => {
  const stores = useStores();
  const log = createLogger('test', 'silent');
  let db: Database;
  let redis: Redis;
  let blocking: Redis;
  let queues: Queues;

  before(async () => {
    await seed(stores.databaseUrl);
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 1 }, 'test');
    redis = createRedis(stores.redis.url, 'commands', log);
    blocking = createRedis(stores.redis.url, 'blocking', log);
    await untilReady(redis, 5000);
    queues = new Queues(redis, 1);
  });
  after(async () => {
    await queues.close();
    await Promise.all([redis, blocking].map(closeRedis));
    await db.destroy();
  });

  it('keeps idempotency keys for 30 days', async () => {
    const row = { actor: 'a', operation: 'x', request_hash: Buffer.from('x') };
    const ago = (days: number) => db.raw(`now() - make_interval(days => ?)`, [days]);
    await db('idempotency_keys').insert([
      { ...row, key: 'young', created_at: ago(29) },
      { ...row, key: 'old', created_at: ago(31) },
    ]);
    expect(await forgetKeys(db)).to.equal(1);
    expect(await db('idempotency_keys').pluck('key')).to.deep.equal(['young']);
  });

  it('drops jobs that ended long ago, though nothing else ends in their queue', async () => {
    const [queue] = queues.partitions;
    const worker = new Worker(queue!.name, () => Promise.resolve({ outcome: 'completed' }), {
      connection: blocking,
      prefix: blocking.names.prefix,
      autorun: false,
    });
    try {
      for (const id of ['old', 'young']) await queues.enqueueCompletion(signedJob('a', id));
      for (const id of ['old', 'young']) {
        const job = await worker.getNextJob(id);
        await job!.moveToCompleted({ outcome: 'completed' }, id, false);
      }
      await redis.zadd(queue!.toKey('completed'), Date.now() - 3_700_000, 'old');
      await redis.hset(queue!.toKey('old'), 'finishedOn', Date.now() - 3_700_000);
      expect(await dropOldJobs(queues)).to.equal(1);
      expect((await queue!.getJobs(['completed'])).map(({ id }) => id)).to.deep.equal(['young']);
    } finally {
      await worker.close();
    }
  });

  it('sweeps all that Redis forgot, however many pages there are', async () => {
    const count = 501;
    const jobs = Array.from({ length: count }, (_, n) => signedJob('a', `forgotten-${n}`));
    await db('queued_completions').insert(
      jobs.map((job) => ({
        action_id: job.actionId,
        user_id: 'a',
        payload: JSON.stringify(job),
        accepted_at: new Date(job.acceptedAt),
        enqueued_at: new Date(0),
      })),
    );
    const aside = new SetAside({ db, redis, log, onSetAside: () => undefined });
    // Signed anew: the names of the secrets are all that both sides share.
    const signatures = new JobSignatures([ACTION_TOKEN_SECRET]);
    expect(signatures.verify(testSignatures.sign(jobs[0]!))).to.equal(true);
    const ended = AbortSignal.timeout(10_000);
    expect(await sweepQueued({ db, queues, signatures, aside, signal: ended })).to.equal(count);
    expect(await queues.partitions[0]!.getWaitingCount()).to.equal(count);
  });

  it('takes no row that names another user than its job, or another action', () => {
    const payload = signedJob('a', 'its-own');
    const row = { actionId: 'its-own', userId: 'a', payload, acceptedAt: 1 };
    expect(readRow(row, testSignatures)).to.deep.equal(payload);
    expect(readRow({ ...row, userId: 'b' }, testSignatures)).to.equal('unreadable');
    expect(readRow({ ...row, actionId: 'other' }, testSignatures)).to.equal('unreadable');
    expect(readRow({ ...row, payload: { ...payload, acceptedAt: 2 } }, testSignatures)).to.equal('unsigned');
  });

  it('frees the place of a completion that is set aside among the open ones', async () => {
    const reasons: string[] = [];
    const aside = new SetAside({ db, redis, log, onSetAside: (reason) => reasons.push(reason) });
    await redis.zadd(redis.names.openActions('a'), Date.now() + 60_000, 'unfit');
    await redis.set(redis.names.action('a', 'unfit'), 'pending');
    await aside.job(signedJob('a', 'unfit'), new Error('out of range'));
    expect(reasons).to.deep.equal(['refused']);
    expect(await redis.zcard(redis.names.openActions('a'))).to.equal(0);
    expect(await redis.get(redis.names.action('a', 'unfit'))).to.equal(null);
    expect(await db('queued_completions').where({ action_id: 'unfit' }).pluck('dead_reason')).to.deep.equal([
      'out of range',
    ]);
  });
});
