import { expect } from 'chai';
import { Redis } from 'ioredis';
import { after, before } from 'mocha';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { RedisNames } from '../../common/redis-names.ts';
import { administrator } from '../support/administrator.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { startTier, useSystem } from '../support/system.ts';

describe('rows that somebody else has written into Postgres', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores);
  const api = (): string => system.api[0]!.url;
  let db: Database;
  before(() => {
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
  });
  after(() => db.destroy());

  it('with times without an end, or prices that are none, keep nobody else from playing', async () => {
    for (const [key, opens, closes] of [
      ['endless', '-infinity', 'infinity'],
      ['ancient', '4713-01-01 BC', '294276-12-31'],
    ] as const)
      await db.raw('insert into leaderboards (key, title, opens_at, closes_at) values (?, ?, ?, ?)', [
        key,
        key,
        opens,
        closes,
      ]);
    for (const [n, difficulties] of [
      'null',
      '5',
      '[]',
      '"hard"',
      '{"hard": null, "easy": "2", "odd": -1}',
    ].entries())
      await db.raw('insert into action_types (key, title, points, difficulties) values (?, ?, 1, ?)', [
        `ODD${n}`,
        'Odd',
        difficulties,
      ]);
    const redis = new Redis(stores.redis.url);
    await redis.publish(new RedisNames().channels.changes, JSON.stringify({ kind: 'catalog' }));
    redis.disconnect();
    // As one that starts, and as one that was there before.
    const fresh = await startTier('api', stores);
    try {
      await eventually(
        async () => {
          for (const url of [api(), fresh.url]) {
            const { body } = await call(url, 'GET', `/leaderboards?_=${Math.random()}`);
            expect(body.leaderboards.map(({ key }: { key: string }) => key)).to.include.members([
              'global',
              'endless',
              'ancient',
            ]);
            const types = await call(url, 'GET', '/action-types');
            expect(types.status).to.equal(200);
            const player = await Player.join(url);
            expect((await player.play(url, 'COMPLETE_TASK', 'endless')).status).to.equal(200);
            expect((await player.play(url, 'ODD4')).status).to.equal(200);
          }
        },
        { timeoutMs: 5000, everyMs: 200 },
      );
    } finally {
      await fresh.stop();
    }
  });

  it('of one user keep no change of another from being told', async () => {
    const [odd, other] = [await Player.join(api()), await Player.join(api())];
    for (const at of ['4713-01-01 BC', 'infinity', '-infinity'])
      await db.raw('update users set created_at = ?, banned_at = now() where id = ?', [at, odd.userId]);
    await other.play(api());
    const { token } = await administrator(stores.databaseUrl, api());
    const ban = await call(api(), 'POST', `/admin/users/${other.userId}/ban`, {
      token,
      body: { reason: 'x' },
    });
    expect(ban.status).to.equal(200);
    await eventually(async () => {
      expect(await db('user_changes').count('* as n').first()).to.deep.equal({ n: '0' });
      const { body } = await call(api(), 'GET', `/leaderboards/global?_=${Math.random()}`);
      expect(body.entries.map(({ userId }: { userId: string }) => userId)).not.to.include(other.userId);
    });
    expect((await call(api(), 'GET', `/users/${odd.userId}`)).status).to.equal(200);
  });

  it('among what waits keep nothing else from being swept', async () => {
    const player = await Player.join(api());
    for (const [n, at] of ['-infinity', 'infinity', '294276-12-31', '4713-01-01 BC'].entries())
      await db.raw(
        `insert into queued_completions (action_id, user_id, payload, accepted_at, enqueued_at) values (?, ?, '{}', ?, '-infinity')`,
        [`odd${n}`, player.userId, at],
      );
    const { token } = await administrator(stores.databaseUrl, api());
    expect((await player.play(api())).status).to.equal(200);
    await eventually(
      async () =>
        expect(await db('queued_completions').whereNull('dead_at').pluck('action_id')).to.deep.equal([]),
      { timeoutMs: 30_000 },
    );
    expect((await call(api(), 'GET', '/admin/dead-completions', { token })).status).to.equal(200);
  });
});
