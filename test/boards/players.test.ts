import { expect } from 'chai';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { administrator } from '../support/administrator.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

describe('players: history, achievements, friends, bans, corrections, export and erasure', () => {
  const stores = useStores();
  const system = useSystem(stores, { api: 2 });
  const api = (i = 0): string => system.api[i]!.url;
  let admin: Player;
  let db: Database;

  before(async () => {
    admin = await administrator(stores.databaseUrl, api());
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
  });
  after(() => db.destroy());

  const get = (player: Player, path: string) => call(api(), 'GET', path, { token: player.token });
  const standing = async (player: Player, board = 'global') =>
    (await get(player, `/leaderboards/${board}/users/me`)).body;

  it('tells a score day by day, right after a completion', async () => {
    const player = await Player.join(api());
    await player.play(api(), 'COMPLETE_QUEST', 'game1');
    await player.play(api(), 'COMPLETE_TASK', 'game2');
    const { body } = await get(player, '/users/me/history?period=3d');
    const today = new Date().toISOString().slice(0, 10);
    expect(body.points).to.have.length(3);
    expect(body.points[2]).to.deep.equal({ date: today, score: 60, gain: 60 });
    expect(body.points[1]).to.include({ score: 0, gain: 0 });
    expect(body).to.include({ trend: 'increasing', averageDailyGain: 20 });
    const one = await call(api(), 'GET', `/users/${player.userId}/history?leaderboard=game2&period=1d`);
    expect(one.body.points).to.deep.equal([{ date: today, score: 10, gain: 10 }]);
    for (const wrong of ['period=0d', 'period=366d', 'period=week']) {
      expect((await get(player, `/users/me/history?${wrong}`)).status).to.equal(400);
    }
  });

  it('tells a score with what was earned before the window, and when nothing was gained in it', async () => {
    const player = await Player.join(api());
    const entry = (id: string, days: number, before: number, delta: number) => ({
      id: `${player.userId}-${id}`,
      kind: 'adjustment',
      user_id: player.userId,
      leaderboard: 'game1',
      points: delta,
      delta,
      before,
      after: before + delta,
      global_delta: delta,
      effects: '{}',
      accepted_at: new Date(Date.now() - days * 86_400_000),
    });
    await db('ledger').insert([entry('old', 10, 0, 70), entry('newer', 4, 70, 30)]);
    const history = async (days: number) => (await get(player, `/users/me/history?period=${days}d`)).body;
    const short = await history(3);
    expect(short.points.map(({ score, gain }: any) => [score, gain])).to.deep.equal([
      [100, 0],
      [100, 0],
      [100, 0],
    ]);
    expect(short).to.include({ trend: 'flat', averageDailyGain: 0 });
    const long = await history(5);
    expect(long.points.map(({ score }: any) => score)).to.deep.equal([100, 100, 100, 100, 100]);
    expect(long).to.include({ trend: 'increasing', averageDailyGain: 6 });
    await db('ledger').insert(entry('taken', 0, 100, -100));
    expect(await history(3)).to.include({ trend: 'decreasing', averageDailyGain: -33.33 });
  });

  it('unlocks a score milestone once', async () => {
    const player = await Player.join(api());
    for (let i = 0; i < 3; i += 1) await player.play(api(), 'COMPLETE_QUEST', 'game1');
    const achievements = async () =>
      (await get(player, `/users/${player.userId}/achievements`)).body.achievements;
    await eventually(async () =>
      expect((await achievements()).map(({ key }: any) => key)).to.include('rank-100'),
    );
    const scores = (await achievements()).filter(({ key }: any) => key.startsWith('score-'));
    expect(scores).to.have.length(1);
    expect(scores[0]).to.include({ key: 'score-100', title: '100 points' });
  });

  it('shows friends their places among each other, and on the whole board', async () => {
    const [me, friend, other] = [
      await Player.join(api()),
      await Player.join(api()),
      await Player.join(api()),
    ];
    await other.play(api(), 'COMPLETE_MISSION', 'game2');
    await friend.play(api(), 'COMPLETE_QUEST', 'game2');
    await me.play(api(), 'COMPLETE_TASK', 'game2');
    for (let i = 0; i < 2; i += 1) {
      const put = await call(api(), 'PUT', `/users/me/friends/${friend.userId}`, { token: me.token });
      expect(put.status).to.equal(204);
    }
    const { body: friends } = await get(me, '/users/me/friends');
    expect(friends.friends.map(({ userId }: any) => userId)).to.deep.equal([friend.userId]);
    expect((await get(friend, '/users/me/friends')).body.friends).to.deep.equal([]);
    const { body } = await get(me, '/leaderboards/game2/friends');
    expect(body.total).to.equal(2);
    expect(body.entries.map(({ userId, position }: any) => [userId, position])).to.deep.equal([
      [friend.userId, 1],
      [me.userId, 2],
    ]);
    for (const entry of body.entries) {
      const { body: whole } = await call(api(), 'GET', `/leaderboards/game2/users/${entry.userId}`);
      expect(entry.rank).to.equal(whole.rank);
    }
    expect((await call(api(), 'PUT', '/users/me/friends/nobody', { token: me.token })).body.code).to.equal(
      'USER_NOT_FOUND',
    );
    expect((await call(api(), 'PUT', `/users/me/friends/${me.userId}`, { token: me.token })).status).to.equal(
      400,
    );
    await call(api(), 'DELETE', `/users/me/friends/${friend.userId}`, { token: me.token });
    expect((await get(me, '/users/me/friends')).body.friends).to.deep.equal([]);
  });

  it('takes a banned user off every board at once, and back on', async () => {
    const player = await Player.join(api());
    await player.play(api(), 'COMPLETE_MISSION', 'game1');
    const before = await standing(player, 'game1');
    const shown = async (period: string): Promise<boolean> => {
      const { body } = await call(api(1), 'GET', `/leaderboards/game1?limit=100&period=${period}`);
      return body.entries.some(({ userId }: any) => userId === player.userId);
    };
    const ban = await call(api(), 'POST', `/admin/users/${player.userId}/ban`, {
      token: admin.token,
      body: { reason: 'cheating' },
    });
    expect(ban.body).to.deep.equal({ userId: player.userId, banned: true, reason: 'cheating' });
    for (const process of [0, 1]) {
      await eventually(async () => {
        const answer = await call(api(process), 'GET', '/users/me', { token: player.token });
        expect([answer.status, answer.body.code]).to.deep.equal([403, 'USER_BANNED']);
      });
    }
    for (const period of ['all', 'daily', 'weekly', 'monthly']) {
      await eventually(async () => expect(await shown(period)).to.equal(false));
    }
    await call(api(), 'DELETE', `/admin/users/${player.userId}/ban`, { token: admin.token });
    await eventually(async () => expect(await standing(player, 'game1')).to.deep.equal(before));
    await eventually(async () => expect(await shown('weekly')).to.equal(true));
  });

  it('corrects scores by ledger entries, rolls one back once, and keeps scores at 0 or more', async () => {
    const player = await Player.join(api());
    const played = await player.play(api(), 'COMPLETE_QUEST', 'game1');
    await player.play(api(), 'COMPLETE_TASK', 'game1');
    const path = `/admin/transactions/${played.body.transactionId}/rollback`;
    const back = await call(api(), 'POST', path, { token: admin.token, body: { reason: 'a bug gave it' } });
    expect(back.body.score).to.deep.equal({ previous: 60, current: 10, delta: -50 });
    const again = await call(api(), 'POST', path, { token: admin.token, body: { reason: 'a bug gave it' } });
    expect(again.body).to.deep.equal(back.body);
    expect((await standing(player)).score).to.equal(10);
    const adjusted = await call(api(), 'POST', `/admin/users/${player.userId}/adjustments`, {
      token: admin.token,
      body: { leaderboard: 'game1', delta: -500, reason: 'all of it' },
    });
    expect(adjusted.body.score).to.deep.equal({ previous: 10, current: 0, delta: -10 });
    expect((await standing(player)).score).to.equal(0);
    expect((await standing(player, 'game1')).score).to.equal(0);
    const rows = await db('ledger')
      .where({ user_id: player.userId })
      .orderBy('accepted_at')
      .select('kind', 'before', 'after');
    expect(rows.map(({ kind }) => kind)).to.deep.equal([
      'completion',
      'completion',
      'rollback',
      'adjustment',
    ]);
    for (let i = 1; i < rows.length; i += 1) expect(rows[i].before).to.equal(rows[i - 1].after);
  });

  it('changes a profile, everywhere', async () => {
    const player = await Player.join(api());
    await player.play(api());
    const changed = await call(api(), 'PATCH', '/users/me', {
      token: player.token,
      body: { username: 'Zoë Ångström', avatarUrl: 'https://example.org/zoe.png' },
    });
    expect(changed.body).to.include({ username: 'Zoë Ångström', avatarUrl: 'https://example.org/zoe.png' });
    await eventually(async () => {
      const { body } = await call(api(1), 'GET', '/leaderboards/global?limit=100');
      expect(body.entries.find(({ userId }: any) => userId === player.userId)).to.include({
        username: 'Zoë Ångström',
      });
    });
    for (const body of [
      { avatarUrl: 'http://example.org/x.png' },
      { username: 'a\u202eb' },
      { username: 'x' },
      {},
      { role: 'admin' },
    ]) {
      expect((await call(api(), 'PATCH', '/users/me', { token: player.token, body })).status).to.equal(400);
    }
    const other = await Player.join(api());
    const taken = await call(api(), 'PATCH', '/users/me', {
      token: other.token,
      body: { username: 'ZOË ÅNGSTRÖM' },
    });
    expect(taken.body.code).to.equal('USERNAME_TAKEN');
  });

  it('exports everything, and erases the person but not the sums', async () => {
    const name = 'Wilhelmina-Unmistakable';
    const player = await Player.join(api(), name);
    await player.play(api(), 'COMPLETE_QUEST', 'game1');
    const { body: data } = await get(player, '/users/me/export');
    expect(data.user).to.include({ username: name, email: `${name}@example.org` });
    expect(data.ledger).to.have.length(1);
    expect(data.actions).to.have.length(1);
    expect(JSON.stringify(data)).not.to.match(/password|token/i);

    expect((await call(api(), 'DELETE', '/users/me', { token: player.token })).status).to.equal(204);
    expect((await get(player, '/users/me')).status).to.equal(401);
    const login = await call(api(), 'POST', '/auth/login', {
      body: { username: name, password: 'correct horse battery' },
    });
    expect(login.body.code).to.equal('BAD_CREDENTIALS');
    await eventually(async () => {
      const { body } = await call(api(), 'GET', '/leaderboards/game1?limit=100');
      expect(body.entries.some(({ userId }: any) => userId === player.userId)).to.equal(false);
    });
    const [sum] = await db('ledger').where({ user_id: player.userId }).sum('delta as total');
    expect(Number(sum?.['total'])).to.equal(50);

    const tables = await db.raw<{ rows: { name: string }[] }>(
      `select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'`,
    );
    for (const { name: table } of tables.rows) {
      const found = await db.raw<{ rows: unknown[] }>(`select 1 from ?? t where t::text ilike ?`, [
        table,
        `%${name}%`,
      ]);
      expect(found.rows, `the name stands in ${table}`).to.deep.equal([]);
    }
    await eventually(async () => expect(await stores.redis.contains(name)).to.equal(false));
  });
});
