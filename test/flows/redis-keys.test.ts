import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { Listener, Stream } from '../live/viewers.ts';
import { administrator } from '../support/administrator.ts';
import { call, Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

/** Keys that may stay: queues, which BullMQ keeps short, boards without an end, and one key each for the whole installation. */
const lasting = [
  /^laurel:(completions-\d+|maintenance):/,
  /^laurel:\{\w+:all:0\}:(ranked|members|milestones)$/,
  /^laurel:(kept|reconciled-run|newest-user-revision)$/,
];

/** Keys that play leaves behind, each of which must have been made for this test to say anything. */
const made = [
  /\{global:daily:\d+\}:ranked$/,
  /\{global:daily:\d+\}:members$/,
  /\{global:daily:\d+\}:milestones$/,
  /:action:/,
  /:open$/,
  /:signed:/,
  /:connections$/,
  /:limit:start$/,
  /:block:play:until$/,
  /:block:play:level$/,
  /:block:cancel:refusals$/,
  /\{ip\/127\.0\.0\.1\}:limit:write$/,
  /\{login\/.*:attempts$/,
  /\{login\/.*:addresses$/,
  /\{login\/.*:known:/,
  /:admission:global$/,
  /:user:/,
];

describe('what play leaves in Redis', () => {
  const stores = useStores();
  const system = useSystem(stores, {
    realtime: 1,
    env: {
      RATE_LIMIT_COMPLETE_PER_MINUTE: '3',
      RATE_LIMIT_START_PER_MINUTE: '100',
      RATE_LIMIT_READ_PER_MINUTE: '100',
      RATE_LIMIT_CANCEL_PER_MINUTE: '1',
      RATE_LIMIT_EXPORTS_PER_DAY: '10',
      RATE_LIMIT_IP_PER_MINUTE: '100',
      RATE_LIMIT_GLOBAL_PER_SECOND: '1000',
      RATE_LIMIT_BLOCK_AFTER: '2',
    },
  });

  it('has an end, or cannot grow with players and days', async () => {
    const [api, live] = [system.api[0]!.url, system.realtime[0]!.url];
    const admin = await administrator(stores.databaseUrl, api);
    // Of a type with a minimum duration Redis remembers the last one that a game signed.
    const terms = { clientSigned: true, minDurationMs: 60_000 };
    const path = '/admin/action-types/COMPLETE_TASK';
    expect((await call(api, 'PATCH', path, { token: admin.token, body: terms })).status).to.equal(200);
    const player = await Player.join(api);
    const wrong = { username: 'nobody of this name', password: 'not the password' };
    expect((await call(api, 'POST', '/auth/login', { body: wrong })).status).to.equal(401);
    expect((await player.completeSigned(api, randomUUID())).status).to.equal(200);
    for (const board of ['game1', 'game2'])
      expect((await player.play(api, 'COMPLETE_MISSION', board)).status).to.equal(200);
    const open = (await player.start(api)).body as { actionId: string; actionToken: string };
    for (let i = 0; i < 2; i += 1) expect((await player.complete(api, open)).status).to.be.oneOf([422, 429]);
    const other = (await player.start(api, 'COMPLETE_MISSION')).body as typeof open;
    for (let i = 0; i < 2; i += 1) expect((await player.complete(api, other)).status).to.equal(429);
    const { token } = player;
    for (const status of [200, 429])
      expect((await call(api, 'POST', `/actions/${open.actionId}/cancel`, { token })).status).to.equal(
        status,
      );
    for (const read of ['/users/me', '/users/me/export', '/leaderboards/global'])
      expect((await call(api, 'GET', read, { token })).status).to.equal(200);
    const listener = new Listener(live, token);
    expect(await listener.handshake).to.deep.equal({ code: 'connected' });
    await listener.ask('join:leaderboard', { leaderboard: 'global' });
    const stream = await Stream.open(live, '/leaderboards/global/stream');

    const redis = new Redis(stores.redis.url);
    const keys = await redis.keys('*');
    const ends = await Promise.all(keys.map((key) => redis.pttl(key)));
    await redis.quit();
    listener.socket.disconnect();
    await stream.close();
    expect(made.filter((kind) => !keys.some((key) => kind.test(key)))).to.deep.equal([]);
    const endless = keys.filter((key, i) => ends[i] === -1 && !lasting.some((kind) => kind.test(key)));
    expect(endless).to.deep.equal([]);
  });
});
