import { expect } from 'chai';
import { call, Player } from '../support/player.ts';
import { administrator } from '../support/administrator.ts';
import { eventually } from '../support/eventually.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

describe('leaderboards and action types as data', () => {
  const stores = useStores();
  const system = useSystem(stores, { api: 2 });
  const api = (i = 0): string => system.api[i]!.url;
  let admin: Player;

  before(async () => {
    admin = await administrator(stores.databaseUrl, api());
  });

  it('makes a leaderboard and an action type that every process knows at once, and writes it down', async () => {
    const board = await call(api(), 'POST', '/admin/leaderboards', {
      token: admin.token,
      body: { key: 'arena', title: 'Arena', scoreCap: 25, maxPointsPerUpdate: 20, periods: ['all', 'daily'] },
    });
    expect(board.status).to.equal(201);
    expect(board.body).to.include({ key: 'arena', scoreCap: 25, visibility: 'public', archivedAt: null });
    const type = await call(api(), 'POST', '/admin/action-types', {
      token: admin.token,
      body: {
        key: 'DUEL',
        title: 'Win a duel',
        points: 12,
        difficulties: { hard: 1.5 },
        leaderboards: ['arena'],
      },
    });
    expect(type.status).to.equal(201);

    const player = await Player.join(api());
    await eventually(async () => expect((await player.start(api(1), 'DUEL', 'arena')).status).to.equal(201));
    const periods = await Promise.all(
      ['all', 'daily', 'weekly', 'monthly'].map((period) =>
        call(api(), 'GET', `/leaderboards/arena?period=${period}`),
      ),
    );
    expect(periods.map(({ status }) => status)).to.deep.equal([200, 200, 404, 404]);
    const elsewhere = await player.start(api(), 'DUEL', 'game1');
    expect([elsewhere.status, elsewhere.body.code]).to.deep.equal([400, 'UNKNOWN_LEADERBOARD']);

    const hard = await call(api(), 'POST', '/actions', {
      token: player.token,
      body: { type: 'DUEL', leaderboard: 'arena', metadata: { difficulty: 'hard' } },
    });
    expect(hard.body.points).to.equal(18);
    const unknown = await call(api(), 'POST', '/actions', {
      token: player.token,
      body: { type: 'DUEL', leaderboard: 'arena', metadata: { difficulty: 'insane' } },
    });
    expect([unknown.status, unknown.body.code]).to.deep.equal([400, 'INVALID_REQUEST']);

    const log = await call(api(), 'GET', '/admin/audit-log', { token: admin.token });
    expect(log.body.entries.map((entry: any) => [entry.action, entry.subject])).to.deep.equal([
      ['action-type.create', 'DUEL'],
      ['leaderboard.create', 'arena'],
    ]);
  });

  it('clips an award at the leaderboard’s cap and says so', async () => {
    const player = await Player.join(api());
    const first = await player.play(api(), 'DUEL', 'arena');
    const second = await player.play(api(), 'DUEL', 'arena');
    const third = await player.play(api(), 'DUEL', 'arena');
    expect([first, second, third].map(({ body }) => body.score)).to.deep.equal([
      { previous: 0, current: 12, delta: 12 },
      { previous: 12, current: 24, delta: 12 },
      { previous: 24, current: 25, delta: 1 },
    ]);
    const global = await call(api(), 'GET', '/leaderboards/global/users/me', { token: player.token });
    expect(global.body.score).to.equal(36);
  });

  it('takes no new actions on an archived leaderboard, and brings it back', async () => {
    const player = await Player.join(api());
    expect(
      (await call(api(), 'DELETE', '/admin/leaderboards/arena', { token: admin.token })).status,
    ).to.equal(204);
    expect((await player.start(api(), 'DUEL', 'arena')).body.code).to.equal('UNKNOWN_LEADERBOARD');
    expect((await call(api(), 'GET', '/leaderboards/arena')).status).to.equal(404);
    const { body: log } = await call(api(), 'GET', '/admin/audit-log?subject=arena', { token: admin.token });
    expect(log.entries[0].action).to.equal('leaderboard.archive');
    await call(api(), 'PATCH', '/admin/leaderboards/arena', {
      token: admin.token,
      body: { title: 'The arena' },
    });
    expect((await player.start(api(), 'DUEL', 'arena')).status).to.equal(201);
    const refused = await call(api(), 'DELETE', '/admin/leaderboards/global', { token: admin.token });
    expect([refused.status, refused.body.code]).to.deep.equal([400, 'INVALID_REQUEST']);
  });

  it('refuses a completion that comes before its minimum duration', async () => {
    await call(api(), 'PATCH', '/admin/action-types/COMPLETE_MISSION', {
      token: admin.token,
      body: { minDurationMs: 60_000 },
    });
    const player = await Player.join(api());
    const answer = await player.play(api(), 'COMPLETE_MISSION');
    expect([answer.status, answer.body.code]).to.deep.equal([422, 'ACTION_TOO_FAST']);
  });

  it('lets nobody but administrators near', async () => {
    const player = await Player.join(api());
    for (const [method, path] of [
      ['GET', '/admin/leaderboards'],
      ['POST', '/admin/action-types'],
      ['POST', `/admin/users/${player.userId}/ban`],
      ['POST', '/admin/reconciliations'],
      ['GET', '/admin/audit-log'],
    ] as const) {
      expect((await call(api(), method, path, { token: player.token })).body.code).to.equal('FORBIDDEN');
      expect((await call(api(), method, path)).body.code).to.equal('UNAUTHENTICATED');
    }
  });
});
