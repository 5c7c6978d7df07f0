import { readdir, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { Redis } from '../../common/redis.ts';
import { after, before } from 'mocha';
import { eventually } from '../support/eventually.ts';
import { call } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';
import { Crowd, progress } from './crowd.ts';

const patience = { timeoutMs: 40_000, everyMs: 50 };

describe('Redis lost, frozen and restarted under load', function () {
  this.timeout(120_000);
  const stores = useStores();
  const system = useSystem(stores, { api: 2 });
  const apis = (): string[] => system.api.map(({ url }) => url);
  let redis: Redis;
  before(() => {
    redis = new Redis(stores.redis.url, { maxRetriesPerRequest: null, retryStrategy: () => 50 });
    redis.on('error', () => undefined);
  });
  after(() => redis.disconnect());

  const version = async (): Promise<number> => {
    const { body } = await call(apis()[0]!, 'GET', '/leaderboards/game1');
    expect(body.version).to.be.above(0, 'Redis does not serve the board');
    return body.version;
  };

  /** Plays through a fault; every read meanwhile must be answered. `fault` is given a count of the reads so far. */
  async function through(
    name: string,
    fault: (crowd: Crowd, reads: () => number) => Promise<void>,
  ): Promise<void> {
    const crowd = await Crowd.of(20, stores, name);
    const load = crowd.playOn(apis());
    await progress(crowd, 20, patience.timeoutMs);
    const before = await eventually(version, patience);

    let over = false;
    let answered = 0;
    const reads = (async () => {
      while (!over) {
        for (const path of ['/leaderboards/game1', `/leaderboards/game1/users/${crowd.userIds[0]}`]) {
          const { status, body } = await call(apis()[1]!, 'GET', path);
          expect(status).to.equal(200, JSON.stringify(body));
          answered += 1;
        }
        await delay(20);
      }
    })();
    reads.catch(() => undefined); // told below
    try {
      await fault(crowd, () => answered);
      await progress(crowd, 40, patience.timeoutMs);
    } finally {
      over = true;
      await load.stop();
    }
    await reads;
    await crowd.expectAgreement();
    await eventually(async () => expect(await version()).to.be.at.least(before), patience);
  }

  it('comes back by itself from FLUSHALL, with all that was accepted', async () => {
    await through('flushed', async (crowd) => {
      for (let n = 0; n < 3; n += 1) {
        await stores.redis.flush();
        await progress(crowd, 10, patience.timeoutMs);
      }
      await eventually(async () => {
        expect(await redis.hget('laurel:completions-0:meta', 'concurrency')).to.equal('1');
        expect(await redis.zcard('laurel:maintenance:repeat')).to.be.at.least(3);
      }, patience);
    });
  });

  it('keeps a 202 that Redis forgot, and applies it before what the user does next', async () => {
    // No worker takes the jobs, so that they are in Redis and nowhere else.
    const crowd = await Crowd.of(10, stores, 'forgotten');
    const paused = await Promise.all(
      Array.from({ length: 8 }, (_, p) => redis.hset(`laurel:completions-${p}:meta`, 'paused', '1')),
    );
    expect(paused).to.have.length(8);
    const load = Promise.all(
      crowd.userIds.map((userId) => crowd.playOne(apis()[0]!, userId, { Prefer: 'respond-async' })),
    );
    await load;
    await stores.redis.flush();
    await Promise.all(crowd.userIds.map((userId) => crowd.playOne(apis()[1]!, userId)));
    await crowd.expectAgreement();
  });

  it('answers reads from Postgres while Redis is frozen, and goes on when it thaws', async () => {
    await through('frozen', async (_, reads) => {
      const before = reads();
      stores.redis.freeze();
      try {
        await delay(5000);
        await eventually(() => expect(reads() - before).to.be.above(3), patience);
      } finally {
        stores.redis.thaw();
      }
    });
  });

  it('survives kill -9 with its data', async () => {
    await through('killed', async () => {
      await stores.redis.kill9();
      await delay(500);
      await stores.redis.restart();
    });
  });

  it('survives a restart with nothing', async () => {
    await through('emptied', async () => {
      await stores.redis.kill9();
      await stores.redis.restart({ empty: true });
    });
  });

  it('rights the boards at once after a restart that lost the last writes, under new versions', async () => {
    const crowd = await Crowd.of(20, stores, 'behind');
    const playAll = () => Promise.all(crowd.userIds.map((userId) => crowd.playOne(apis()[0]!, userId)));
    await playAll();
    const folder = join(((await redis.config('GET', 'dir')) as string[])[1]!, 'appendonlydir');
    const file = join(
      folder,
      (await readdir(folder)).find((name) => name.endsWith('.incr.aof'))!,
    );
    const { size } = await stat(file);
    await playAll();
    await playAll();
    await crowd.expectAgreement();
    const before = await eventually(version, patience);

    // Nobody plays: what is right afterwards has been put right.
    await stores.redis.kill9();
    await truncate(file, size);
    await stores.redis.restart();
    await crowd.expectAgreement();
    await eventually(async () => expect(await version()).to.be.above(before), patience);
    await playAll();
    await crowd.expectAgreement();
  });
});
