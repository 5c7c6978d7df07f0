import { Worker, type Job } from 'bullmq';
import { expect } from 'chai';
import { after, before } from 'mocha';
import { BoardIndex } from '../../common/board/board-index.ts';
import { boardAt } from '../../common/board/board.ts';
import { BoardTable } from '../../common/board/board-table.ts';
import { Catalog } from '../../common/catalog.ts';
import { createLogger } from '../../common/logger.ts';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { Queues, type CompletionJob, type PartitionJob } from '../../common/queues.ts';
import { closeRedis, createRedis, untilReady, type Redis } from '../../common/redis.ts';
import { eventually } from '../../test/support/eventually.ts';
import { signedJob, testSignatures } from '../../test/support/jobs.ts';
import { useStores } from '../../test/support/stores.ts';
import { seed } from '../../test/support/system.ts';
import { GroupCommit } from './group-commit.ts';
import { Ledger } from './ledger.ts';
import { createPartitionProcessor } from './partition-processor.ts';
import { Publisher } from './publisher.ts';
import { RankRecorder } from './rank-recorder.ts';
import { SetAside } from './set-aside.ts';

const MORE_THAN_POSTGRES_HOLDS = 2 ** 31;

describe('a partition’s line', () => {
  const stores = useStores();
  const log = createLogger('test', 'silent');
  let db: Database;
  let redis: Redis;
  let workerRedis: Redis;
  let queues: Queues;
  let recorder: RankRecorder;
  let worker: Worker<PartitionJob>;
  let process: (job: Job<PartitionJob>, token?: string) => Promise<unknown>;

  before(async () => {
    await seed(stores.databaseUrl);
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 4 }, 'test');
    await db('users').insert(['a', 'b'].map((id) => ({ id, username: id, username_key: id })));
    redis = createRedis(stores.redis.url, 'commands', log);
    await untilReady(redis, 5000);
    queues = new Queues(redis, 1);
    const aside = new SetAside({ db, redis, log, onSetAside: () => undefined });
    const ledger = new Ledger(db, { signatures: testSignatures, aside });
    const index = new BoardIndex(redis);
    recorder = new RankRecorder(ledger, log);
    const publisher = new Publisher(redis, index, new BoardTable(db), recorder);
    const catalog = new Catalog(db, log);
    const { signal } = new AbortController();
    const commits = new GroupCommit({ ledger, publisher, log, signal, onBatch: () => undefined });
    const [queue] = queues.partitions;
    if (!queue) throw new Error('no partition');
    process = createPartitionProcessor({
      queue,
      redis,
      commits,
      ledger,
      publisher,
      index,
      catalog,
      signatures: testSignatures,
      aside,
      batchMax: 50,
      log,
      signal,
    });
    workerRedis = createRedis(stores.redis.url, 'blocking', log);
    worker = new Worker(queue.name, process, {
      connection: workerRedis,
      prefix: workerRedis.names.prefix,
      autorun: false,
    });
  });
  after(async () => {
    await worker.close();
    await queues.close();
    await recorder.close();
    await Promise.all([redis, workerRedis].map(closeRedis));
    await db.destroy();
  });

  let count = 0;
  const completion = (points = 1, userId = 'a'): CompletionJob =>
    signedJob(userId, `action-${(count += 1)}`, { points });

  const countedOf = (user: string): Promise<string[]> =>
    db<{ id: string; user_id: string; action_id: string }>('ledger')
      .where({ user_id: user })
      .orderBy('id')
      .pluck('action_id');

  it('is left alone by a worker that has lost its slot', async () => {
    const [queue] = queues.partitions;
    const line = [completion(1, 'b'), completion(1, 'b')] as const;
    for (const job of line) await queues.enqueueCompletion(job);
    const held = await queue?.getJob(line[0].actionId);
    if (!queue || !held) throw new Error('nothing was enqueued');
    expect(await process(held, 'the token of a lock that has run out')).to.deep.equal({
      outcome: 'completed',
    });
    expect(await countedOf('b')).to.deep.equal([line[0].actionId]);
    expect(await queue.getJobCountByTypes('waiting')).to.equal(2);
    await queue.drain();
  });

  it('is applied in order; those that were taken along leave it, and one that cannot be applied is judged alone', async () => {
    const [queue] = queues.partitions;
    if (!queue) throw new Error('no partition');
    const before = [completion(), completion(), completion()];
    const impossible = completion(MORE_THAN_POSTGRES_HOLDS);
    // Written into Redis by somebody who does not know the API's secret.
    const forged = { ...completion(), sig: 'forged' };
    const behind = [completion(), completion()];
    for (const job of [...before, forged, impossible, ...behind]) await queues.enqueueCompletion(job);
    await queues.enqueueResync('a');
    void worker.run();

    await eventually(async () => {
      const { waiting, active } = await queue.getJobCounts('waiting', 'active');
      expect({ waiting, active }).to.deep.equal({ waiting: 0, active: 0 });
    });
    const counted = await countedOf('a');
    expect(counted).to.deep.equal([...before, ...behind].map(({ actionId }) => actionId));
    expect((await queue.getFailed()).map(({ id }) => id)).to.have.members([
      forged.actionId,
      impossible.actionId,
    ]);
    // Few had a turn of BullMQ's own; of the others nothing is left.
    const turns = (await queue.getCompleted()).filter(({ data }) => data.kind === 'completion');
    expect(turns.length).to.be.below(counted.length);
    expect(turns.map(({ returnvalue }) => returnvalue as unknown)).to.deep.equal(
      turns.map(() => ({ outcome: 'completed' })),
    );
    const left = await Promise.all(counted.map((id) => queue.getJob(id)));
    expect(left.filter((job) => job !== undefined).length).to.equal(turns.length);
  });

  it('never drops a repair because an earlier one, which has read already, still runs', async () => {
    const [queue] = queues.partitions;
    if (!queue) throw new Error('no partition');
    await eventually(async () => expect(await queue.getJobCountByTypes('waiting', 'active')).to.equal(0));
    await worker.pause();
    const taker = new Worker<PartitionJob>(queue.name, null, {
      connection: workerRedis,
      prefix: workerRedis.names.prefix,
      autorun: false,
    });
    await queues.enqueueResync('b');
    const running = (await taker.getNextJob('taken')) as Job<PartitionJob> | undefined;
    if (!running) throw new Error('the repair is not there');
    await process(running, 'taken'); // it has read and written, and has not ended yet
    await db('users').where({ id: 'b' }).update({ banned_at: new Date() });
    await queues.enqueueResync('b');
    expect(await queue.getJobCountByTypes('waiting')).to.equal(1);
    await running.moveToCompleted({}, 'taken', false);
    const board = boardAt('game1', 'all', 0);
    expect(await redis.hexists(redis.names.members(board), 'b'), 'b stands on the board').to.equal(1);
    void worker.resume();
    await eventually(async () => expect(await redis.hexists(redis.names.members(board), 'b')).to.equal(0));
    await taker.close();
  });
});
