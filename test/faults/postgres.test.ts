import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { after, before } from 'mocha';
import { eventually } from '../support/eventually.ts';
import { call, Player } from '../support/player.ts';
import { startPrivatePostgres, type PrivatePostgres } from '../support/postgres.ts';
import { createRedis, type TestRedis } from '../support/redis.ts';
import type { Stores } from '../support/stores.ts';
import { seed, startTier, type RunningTier } from '../support/system.ts';
import { Crowd, progress } from './crowd.ts';

const patience = { timeoutMs: 40_000, everyMs: 50 };

describe('Postgres stopped and killed under load', function () {
  this.timeout(120_000);
  let postgres: PrivatePostgres;
  let redis: TestRedis;
  let stores: Stores;
  const tiers: RunningTier[] = [];

  before(async () => {
    [postgres, redis] = await Promise.all([startPrivatePostgres(), createRedis()]);
    stores = { databaseUrl: postgres.url, redis };
    await seed(postgres.url);
    // A short wait, so that those who complete meanwhile are soon told that it will count.
    const env = { COMPLETE_WAIT_MS: '500' };
    tiers.push(await startTier('workers', stores, env), await startTier('api', stores, env));
  });
  after(async () => {
    await Promise.all(tiers.map((tier) => tier.stop()));
    await Promise.all([postgres.remove(), redis.stop()]);
  });
  const api = (): string => tiers[1]!.url;

  async function through(name: string, fault: (crowd: Crowd) => Promise<void>): Promise<Crowd> {
    const crowd = await Crowd.of(20, stores, name);
    const load = crowd.playOn([api()]);
    await progress(crowd, 20, patience.timeoutMs);
    try {
      await fault(crowd);
      await progress(crowd, 40, patience.timeoutMs);
    } finally {
      await postgres.start();
      await load.stop();
    }
    await crowd.expectAgreement(40_000);
    return crowd;
  }

  it('accepts completions, serves boards, and applies everything in order when it is back after 10 s', async () => {
    const crowd = await through('stopped', async ({ userIds }) => {
      const player = await Player.join(api());
      const started = await player.start(api());
      await postgres.stop();
      const promised = await player.complete(api(), started.body);
      expect(promised.status, JSON.stringify(promised.body)).to.equal(202);
      const end = Date.now() + 10_000;
      while (Date.now() < end) {
        for (const path of ['/leaderboards/game1', `/leaderboards/game1/users/${userIds[0]}`]) {
          const { status, body } = await call(api(), 'GET', path);
          expect(status).to.equal(200, JSON.stringify(body));
        }
        await delay(100);
      }
      await postgres.start();
    });
    expect(crowd.statuses).to.include(503);
  });

  it('loses nothing that it confirmed to kill -9', async () => {
    await through('killed', async () => {
      await postgres.kill9();
      await delay(500);
      await postgres.start();
    });
  });

  it('is ready again by itself', async () => {
    await eventually(async () => {
      for (const { url } of tiers) expect((await call(url, 'GET', '//readyz')).status).to.equal(200);
    }, patience);
  });
});
