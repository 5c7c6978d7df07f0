import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { after, before } from 'mocha';
import { BoardIndex, encodeTime } from '../../common/board/board-index.ts';
import { boardAt } from '../../common/board/board.ts';
import { createLogger } from '../../common/logger.ts';
import { Queues } from '../../common/queues.ts';
import { RedisNames } from '../../common/redis-names.ts';
import { closeRedis, createRedis, Redis } from '../../common/redis.ts';
import { eventually } from '../support/eventually.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';
import { Crowd, progress, withDatabase } from './crowd.ts';

const patience = { timeoutMs: 30_000, everyMs: 50 };
const board = boardAt('game1', 'all', 0);
const names = new RedisNames();

describe('reconciliation', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores, {});
  let redis: Redis;
  let producer: Redis;
  let queues: Queues;
  before(() => {
    redis = new Redis(stores.redis.url);
    producer = createRedis(stores.redis.url, 'blocking', createLogger('test', 'silent'));
    queues = new Queues(producer, 8);
  });
  after(async () => {
    await queues.close();
    await closeRedis(producer);
    redis.disconnect();
  });

  /** Has everything reconciled. @returns what was written down of it */
  async function reconcile(): Promise<{ compared: number; drifted: number }> {
    return withDatabase(stores, async (db) => {
      // One may be under way that began before; asking meanwhile would be answered by it.
      await eventually(
        async () => expect(await db('reconciliations').whereNull('finished_at')).to.deep.equal([]),
        patience,
      );
      const known = new Set((await db('reconciliations').select('id')).map(({ id }) => id as string));
      return eventually(async () => {
        await queues.requestMaintenance('reconcile', { trigger: 'cli' });
        const row = (await db('reconciliations').orderBy('started_at')).find(
          ({ id, finished_at }) => !known.has(id) && finished_at,
        );
        expect(row, 'no reconciliation has finished').to.not.equal(undefined);
        expect(row.error).to.equal(null);
        return { compared: Number(row.compared), drifted: Number(row.drifted) };
      }, patience);
    });
  }

  it('makes a board anew that holds entries which nobody could read', async () => {
    const crowd = await Crowd.of(2, stores, 'readable');
    await Promise.all(crowd.userIds.map((userId) => crowd.playOne(system.api[0]!.url, userId)));
    await redis.zadd(names.ranked(board), 0, 'junk');
    await reconcile();
    await eventually(async () => {
      expect(await redis.zscore(names.ranked(board), 'junk')).to.equal(null);
      expect(await redis.zscore(names.ranked(board), '~')).to.equal('inf');
    }, patience);
  });

  it('repairs whatever was tampered with while play goes on, and says how much it was', async () => {
    const idle = await Crowd.of(12, stores, 'idle');
    await Promise.all(idle.userIds.map((userId) => idle.playOne(system.api[0]!.url, userId)));
    await idle.expectAgreement();
    const busy = await Crowd.of(10, stores, 'busy');
    const load = busy.playOn([system.api[0]!.url]);
    await progress(busy, 20, patience.timeoutMs);

    const [ranked, members] = [names.ranked(board), names.members(board)];
    const memberOf = async (userId: string): Promise<string> =>
      `${await redis.hget(members, userId)}${userId}`;
    const victim = (n: number): string => idle.userIds[n]!;
    // A raised score; a member gone; a record gone; both gone; a second entry; a record that names a false entry.
    await redis.zadd(ranked, -999_999, await memberOf(victim(0)));
    await redis.zrem(ranked, await memberOf(victim(1)));
    await redis.hdel(members, victim(2));
    await redis.zrem(ranked, await memberOf(victim(3)));
    await redis.hdel(members, victim(3));
    await redis.zadd(ranked, -500_000, encodeTime(1) + victim(4));
    await redis.zadd(ranked, -400_000, encodeTime(2) + victim(5));
    await redis.hset(members, victim(5), encodeTime(2));
    // Somebody whom Postgres does not know, and one from the future, whom play itself could not correct.
    await redis.zadd(ranked, -800_000, `${encodeTime(3)}stranger`);
    await redis.hset(members, 'stranger', encodeTime(3));
    await redis.zrem(ranked, await memberOf(victim(6)));
    await redis.zadd(ranked, -700_000, encodeTime(Date.now() + 86_400_000) + victim(6));
    await redis.hset(members, victim(6), encodeTime(Date.now() + 86_400_000));

    const { compared, drifted } = await reconcile();
    expect(compared).to.be.at.least(12 * 8);
    expect(drifted).to.equal(8);
    await progress(busy, 20, patience.timeoutMs);
    await load.stop();
    await busy.expectAgreement();
    await idle.expectAgreement();
    await Promise.all(idle.userIds.map((userId) => idle.playOne(system.api[0]!.url, userId)));
    await idle.expectAgreement();
    expect((await reconcile()).drifted).to.equal(0);
  });

  for (const [name, key] of [
    ['sorted set', names.ranked(board)],
    ['hash', names.members(board)],
  ] as const) {
    it(`makes a board again whose ${name} was deleted, while play goes on`, async () => {
      const crowd = await Crowd.of(10, stores, `gone-${name.replace(' ', '-')}`);
      const load = crowd.playOn([system.api[0]!.url]);
      await progress(crowd, 20, patience.timeoutMs);
      await redis.del(key);
      await eventually(async () => {
        expect(await new BoardIndex(redis).incomplete([board])).to.deep.equal([]);
      }, patience);
      await progress(crowd, 20, patience.timeoutMs);
      await load.stop();
      await crowd.expectAgreement();
    });
  }

  it('gives no false alarm under load', async () => {
    const crowd = await Crowd.of(10, stores, 'healthy');
    const load = crowd.playOn([system.api[0]!.url]);
    await progress(crowd, 10, patience.timeoutMs);
    // Redis is behind Postgres for most of the time: it takes reads, and holds writes back.
    let over = false;
    const holding = (async () => {
      for (; !over; await delay(300)) await redis.client('PAUSE', 200, 'WRITE');
    })();
    try {
      expect((await reconcile()).drifted).to.equal(0);
    } finally {
      over = true;
      await holding;
      await load.stop();
    }
    await crowd.expectAgreement();
  });
});
