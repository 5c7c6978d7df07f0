import { expect } from 'chai';
import { after, afterEach, before } from 'mocha';
import { BoardIndex } from '../../common/board/board-index.ts';
import { BoardTable } from '../../common/board/board-table.ts';
import { EventListener, type CompletionEvent } from '../../common/events.ts';
import { createLogger } from '../../common/logger.ts';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { closeRedis, createRedis, untilReady, type Redis } from '../../common/redis.ts';
import { eventually } from '../../test/support/eventually.ts';
import { signedJob } from '../../test/support/jobs.ts';
import { useStores } from '../../test/support/stores.ts';
import { seed } from '../../test/support/system.ts';
import { Ledger } from './ledger.ts';
import { Milestones } from './milestones.ts';
import { Publisher } from './publisher.ts';
import { RankRecorder } from './rank-recorder.ts';

describe('what workers tell of completions', () => {
  const stores = useStores();
  const log = createLogger('test', 'silent');
  const heard: CompletionEvent[] = [];
  let db: Database;
  let redis: Redis;
  let subscriber: Redis;
  let ledger: Ledger;
  let recorder: RankRecorder;
  let publisher: Publisher;

  before(async () => {
    await seed(stores.databaseUrl);
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
    await db('users').insert({ id: 'a', username: 'a', username_key: 'a' });
    redis = createRedis(stores.redis.url, 'commands', log);
    subscriber = createRedis(stores.redis.url, 'subscriber', log);
    await Promise.all([redis, subscriber].map((client) => untilReady(client, 5000)));
    await new EventListener(subscriber, log).onCompletions((events) => void heard.push(...events));
    ledger = new Ledger(db);
    recorder = new RankRecorder(ledger, log);
    publisher = new Publisher(redis, new BoardIndex(redis), new BoardTable(db), recorder);
  });
  afterEach(() => heard.splice(0));
  after(async () => {
    await recorder.close();
    await Promise.all([redis, subscriber].map(closeRedis));
    await db.destroy();
  });

  it('is not what was told before: a batch that a crash repeats is announced once, and answered twice', async () => {
    const jobs = [signedJob('a', 'crashed-1')];
    const first = await publisher.publish(await ledger.apply(jobs));
    const again = await publisher.publish(await ledger.apply(jobs));
    // To the one who waits, it is the first try still.
    expect(again).to.deep.equal(first);
    expect(first[0]).to.include({ outcome: 'completed' });
    await publisher.publish(await ledger.apply([signedJob('a', 'crashed-2')]));
    await eventually(() => expect(heard.map(({ actionId }) => actionId)).to.include('crashed-2'));
    expect(heard.map(({ actionId }) => actionId)).to.deep.equal(['crashed-1', 'crashed-2']);
  });

  it('leaves nothing of a completion that was refused, which may be tried again', async () => {
    const { client, ...signed } = signedJob('a', 'of-nobody');
    expect(client).not.to.equal(undefined);
    const job = { ...signed, tokenHash: 'ab'.repeat(32) };
    const key = redis.names.action('a', 'of-nobody');
    await redis.set(key, 'pending');
    const [reply] = await publisher.publish(await ledger.apply([job]));
    expect(reply).to.include({ outcome: 'unknown' });
    expect(await redis.get(key)).to.equal(null);
  });

  it('are places that somebody enters, the best of them, and not those held before', async () => {
    const board = { leaderboard: 'x', period: 'all' as const, startsAt: 0, endsAt: null };
    const moves: (readonly [number | null, number | null])[] = [
      [null, 1],
      [11, 10],
      [10, 9],
      [4, 3],
      [3, 2],
      [1, 1],
      [101, 100],
      [null, 101],
      [3, null],
    ];
    const steps = moves.map(([previous, current], n) => ({ board, userId: `mover-${n}`, previous, current }));
    const milestones = new Milestones(redis);
    const entered = (await milestones.firstEntries(steps)).map(({ previous, current }) => [
      previous,
      current,
    ]);
    expect(entered).to.deep.equal([
      [null, 1],
      [11, 10],
      [4, 3],
      [101, 100],
    ]);
    expect(await milestones.firstEntries(steps), 'the second time').to.deep.equal([]);
  });
});
