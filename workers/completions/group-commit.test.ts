import { expect } from 'chai';
import { after, before } from 'mocha';
import { nameOf } from '../../common/actions.ts';
import { BoardIndex } from '../../common/board/board-index.ts';
import { BoardTable } from '../../common/board/board-table.ts';
import { createLogger } from '../../common/logger.ts';
import { createDatabase, type Database } from '../../common/postgres.ts';
import type { CompletionJob } from '../../common/queues.ts';
import { closeRedis, createRedis, untilReady, type Redis } from '../../common/redis.ts';
import { eventually } from '../../test/support/eventually.ts';
import { signedJob } from '../../test/support/jobs.ts';
import { useStores } from '../../test/support/stores.ts';
import { seed } from '../../test/support/system.ts';
import { GroupCommit, type Line } from './group-commit.ts';
import { Ledger } from './ledger.ts';
import { Publisher } from './publisher.ts';
import { RankRecorder } from './rank-recorder.ts';

const MOST_POINTS_OF_POSTGRES = 2 ** 31 - 1;

describe('commits that partitions share', () => {
  const stores = useStores();
  const log = createLogger('test', 'silent');
  let db: Database;
  let redis: Redis;
  let recorder: RankRecorder;
  let commits: GroupCommit;
  const sizes: number[] = [];

  before(async () => {
    await seed(stores.databaseUrl);
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 4 }, 'test');
    await db('users').insert(['a', 'b', 'c', 'd'].map((id) => ({ id, username: id, username_key: id })));
    redis = createRedis(stores.redis.url, 'commands', log);
    await untilReady(redis, 5000);
    const ledger = new Ledger(db);
    recorder = new RankRecorder(ledger, log);
    commits = new GroupCommit({
      ledger,
      publisher: new Publisher(redis, new BoardIndex(redis), new BoardTable(db), recorder),
      log,
      signal: new AbortController().signal,
      onBatch: (size) => sizes.push(size),
    });
  });
  after(async () => {
    await recorder.close();
    await closeRedis(redis);
    await db.destroy();
  });

  let count = 0;
  const job = (userId: string, points?: number): CompletionJob =>
    signedJob(userId, `${userId}-${(count += 1)}`, { points });
  const line = (first: CompletionJob, ...behind: CompletionJob[]): Line => ({
    first,
    takeAlong: () => Promise.resolve(behind),
  });
  /** Checked like any other, and yet no transaction can hold it. */
  const impossible = (userId: string): CompletionJob => job(userId, MOST_POINTS_OF_POSTGRES + 1);

  it('applies what comes at the same time together, and answers each line', async () => {
    sizes.length = 0;
    const lines = [[job('a'), job('a')], [job('b')], [job('c')]];
    const replies = await Promise.all(
      lines.map(([first, ...behind]) => commits.apply(line(first!, ...behind))),
    );
    lines.forEach((jobs, i) => {
      for (const one of jobs) expect(replies[i]!.get(nameOf(one))?.outcome).to.equal('completed');
    });
    expect(sizes).to.deep.equal([4]);
  });

  it('takes along what came while an earlier transaction was under way', async () => {
    const behind: CompletionJob[] = [];
    const earlier = commits.apply(line(job('a')));
    // Its line waits from now on, and what is behind it comes later still.
    const later = new Promise<void>((resolve) => setImmediate(resolve)).then(() =>
      commits.apply({ first: job('b'), takeAlong: () => Promise.resolve(behind) }),
    );
    await new Promise((resolve) => setImmediate(resolve));
    const late = job('b');
    behind.push(late);
    await earlier;
    expect((await later).get(nameOf(late))?.outcome).to.equal('completed');
  });

  it('begins no transaction when nothing waits', async () => {
    sizes.length = 0;
    expect(await commits.apply({ first: undefined, takeAlong: () => Promise.resolve([]) })).to.have.property(
      'size',
      0,
    );
    expect(sizes).to.deep.equal([]);
  });

  it('tells whether completions are being applied', async () => {
    expect(commits.isBusy).to.equal(false);
    const applied = commits.apply(line(job('a')));
    // A batch begins in the next turn of the event loop.
    await new Promise((resolve) => setImmediate(resolve));
    expect(commits.isBusy).to.equal(true);
    await applied;
    await new Promise((resolve) => setImmediate(resolve));
    expect(commits.isBusy).to.equal(false);
  });

  it('judges each line alone when one of them breaks the transaction', async () => {
    const [good, bad, mixed] = [[job('a')], [impossible('b'), job('b')], [job('c'), impossible('c')]];
    const [first, second, third] = await Promise.allSettled(
      [good, bad, mixed].map(([first, ...behind]) => commits.apply(line(first!, ...behind))),
    );
    expect(first).to.have.nested.property('status', 'fulfilled');
    // The first of its line cannot be applied; those behind it get their turn.
    expect(second).to.have.nested.property('reason.message').that.includes('out of range');
    // Only the first of its line was applied.
    const applied = third?.status === 'fulfilled' ? [...third.value.keys()] : [];
    expect(applied).to.deep.equal([nameOf(mixed[0]!)]);
    expect(
      await db('ledger').whereIn(
        'action_id',
        [good[0]!, mixed[0]!].map((j) => j.actionId),
      ),
    ).to.have.length(2);
    expect(
      await db('ledger').whereIn(
        'action_id',
        [...bad, mixed[1]!].map((j) => j.actionId),
      ),
    ).to.have.length(0);
  });

  it('does not hold up other lines while one waits for a lock', async () => {
    let held: Promise<unknown> = Promise.resolve();
    await db.transaction(async (trx) => {
      await trx.raw(`select lock_users(array['d'])`);
      held = commits.apply(line(job('d')));
      await eventually(async () => {
        const { rows } = await db.raw(
          `select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
        );
        expect(rows[0].n).to.equal(1);
      });
      const free = job('a');
      expect((await commits.apply(line(free))).get(nameOf(free))?.outcome).to.equal('completed');
    });
    await held;
  });
});
