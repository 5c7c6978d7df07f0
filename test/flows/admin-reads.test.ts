import { expect } from 'chai';
import { after, before } from 'mocha';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { administrator } from '../support/administrator.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

describe('what administrators can look up', function () {
  this.timeout(30_000);
  const stores = useStores();
  const system = useSystem(stores);
  const api = (): string => system.api[0]!.url;
  let db: Database;
  let admin: Player;
  let player: Player;
  /** transaction ids of the player's completions, oldest first */
  const played: string[] = [];

  const read = (path: string): Promise<Answer> => call(api(), 'GET', `/admin${path}`, { token: admin.token });
  const found = async (query: string): Promise<string[]> => {
    const { status, body } = await read(`/users?${query}`);
    expect(status, query).to.equal(200);
    return body.users.map(({ userId }: { userId: string }) => userId);
  };

  before(async () => {
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 3 }, 'test');
    admin = await administrator(stores.databaseUrl, api());
    player = await Player.join(api(), 'Zoë_100');
    for (const [type, board] of [
      ['COMPLETE_TASK', 'game1'],
      ['COMPLETE_QUEST', 'game1'],
      ['COMPLETE_MISSION', 'game2'],
    ])
      played.push((await player.play(api(), type, board)).body.transactionId);
  });
  after(() => db.destroy());

  it('finds users by part of a name or e-mail address, by id, and by an address of theirs', async () => {
    const stranger = await Player.join(api(), 'Zoe-x100');
    for (const query of ['zoë_1', 'ZOË', '_100', player.userId, 'zoë_100@EXAMPLE'])
      expect(await found(`query=${encodeURIComponent(query)}`), query).to.deep.equal([player.userId]);
    expect(await found('query=Zoe-x100')).to.deep.equal([stranger.userId]);
    expect(await found('query=%25')).to.deep.equal([]);
    await db('actions').where({ user_id: player.userId }).update({ ip: '203.0.113.77' });
    expect(await found('query=203.0.113.77')).to.deep.equal([player.userId]);
    expect(await found('query=nobody-of-this-name')).to.deep.equal([]);
    expect((await read('/users?status=cheater')).status).to.equal(400);
  });

  it('reads the audit log of a time', async () => {
    await call(api(), 'PUT', '/admin/features/broadcast', { token: admin.token, body: { enabled: true } });
    const of = async (query: string): Promise<number> =>
      (await read(`/audit-log?action=feature.set&${query}`)).body.entries.length;
    const [past, future] = [-60_000, 60_000].map((ms) => new Date(Date.now() + ms).toISOString());
    expect([await of(`from=${past}`), await of(`from=${future}`)]).to.deep.equal([1, 0]);
    expect([await of(`to=${past}`), await of(`to=${future}`)]).to.deep.equal([0, 1]);
  });

  it('lists users by status, page by page', async () => {
    const cheater = await Player.join(api());
    await call(api(), 'POST', `/admin/users/${cheater.userId}/ban`, {
      token: admin.token,
      body: { reason: 'speed hack' },
    });
    expect(await found('status=banned')).to.deep.equal([cheater.userId]);
    expect(await found('status=admin')).to.deep.equal([admin.userId]);
    const all: string[] = [];
    for (let cursor = ''; ;) {
      const { body } = await read(`/users?limit=2${cursor}`);
      all.push(...body.users.map(({ userId }: { userId: string }) => userId));
      if (body.nextCursor === null) break;
      cursor = `&cursor=${body.nextCursor}`;
    }
    const known = (await db('users').pluck('id')) as string[];
    expect(all).to.have.members(known).and.to.have.length(known.length);
    const { body } = await read(`/users/${cheater.userId}`);
    expect(body.ban.reason).to.equal('speed hack');
    expect(body.email).to.equal(`${cheater.username}@example.org`);
  });

  it('shows a user with logins and scores', async () => {
    await Player.signIn(api(), player.username, 'correct horse battery');
    const { body, headers } = await read(`/users/${player.userId}`);
    expect(headers['cache-control']).to.equal('private, no-store');
    expect(body).to.include({
      userId: player.userId,
      role: 'player',
      ban: null,
      erasedAt: null,
      sessions: 2,
    });
    const allTime = body.scores.filter(({ period }: { period: string }) => period === 'all');
    expect(allTime.map(({ leaderboard, score }: any) => [leaderboard, score])).to.deep.equal([
      ['game1', 60],
      ['game2', 100],
      ['global', 160],
    ]);
    expect((await read('/users/nobody-at-all')).body.code).to.equal('USER_NOT_FOUND');
  });

  it('lists a user’s ledger, by leaderboard and time, page by page', async () => {
    const path = `/users/${player.userId}/ledger`;
    const ids = async (query = ''): Promise<string[]> =>
      (await read(path + query)).body.entries.map(({ transactionId }: any) => transactionId);
    expect(await ids()).to.deep.equal([...played].reverse());
    expect(await ids('?leaderboard=game1')).to.deep.equal([played[1], played[0]]);
    expect(await ids('?to=2020-01-01T00:00:00Z')).to.deep.equal([]);
    expect(await ids('?from=2020-01-01T00:00:00Z')).to.have.length(3);
    const first = await read(`${path}?limit=2`);
    expect(first.body.nextCursor).to.equal(played[1]);
    expect(await ids(`?limit=2&cursor=${first.body.nextCursor}`)).to.deep.equal([played[0]]);
    for (const cursor of [`${played[2]}&leaderboard=game1`, 'made-up'])
      expect((await read(`${path}?cursor=${cursor}`)).body.code, cursor).to.equal('INVALID_REQUEST');
  });

  it('shows an entry, who took it back, and by which entry', async () => {
    const back = await call(api(), 'POST', `/admin/transactions/${played[0]!}/rollback`, {
      token: admin.token,
      body: { reason: 'a bug gave it' },
    });
    const [entry, rollback] = [
      (await read(`/transactions/${played[0]!}`)).body,
      (await read(`/transactions/${back.body.transactionId}`)).body,
    ];
    expect(entry).to.include({
      kind: 'completion',
      status: 'applied',
      username: player.username,
      delta: 10,
      reversedBy: back.body.transactionId,
    });
    expect(rollback).to.include({
      kind: 'rollback',
      reverses: played[0],
      delta: -10,
      reason: 'a bug gave it',
      actor: admin.userId,
      actorName: 'admin',
    });
    expect((await read('/transactions/none')).body.code).to.equal('NOT_FOUND');
  });

  it('names people in the audit log, and filters it', async () => {
    const log = async (query: string): Promise<any[]> => (await read(`/audit-log?${query}`)).body.entries;
    const lines = await log(`subject=${player.userId}`);
    expect(lines.map(({ action, actorName, subjectName }) => [action, actorName, subjectName])).to.deep.equal(
      [['score.rollback', 'admin', player.username]],
    );
    await call(api(), 'PUT', '/admin/features/submissions', { token: admin.token, body: { enabled: true } });
    const [switched, ...others] = await log('action=feature.set');
    expect(switched).to.include({ subject: 'submissions', subjectName: null });
    expect(others.every(({ action }) => action === 'feature.set')).to.equal(true);
    expect(await log(`actor=${player.userId}`)).to.deep.equal([]);
    expect(await log('to=2020-01-01')).to.deep.equal([]);
    expect((await log('from=2020-01-01')).length).to.be.above(2);
  });

  it('lists a reconciliation under the job that its request was answered with', async () => {
    const { status, body } = await call(api(), 'POST', '/admin/reconciliations', { token: admin.token });
    expect(status).to.equal(202);
    await eventually(async () => {
      const { reconciliations } = (await read('/reconciliations')).body;
      const mine = reconciliations.find(({ jobId }: { jobId: string }) => jobId === body.jobId);
      expect(mine?.finishedAt).to.be.a('string');
    });
  });

  it('is for administrators only', async () => {
    for (const path of [
      '/users',
      `/users/${player.userId}`,
      `/users/${player.userId}/ledger`,
      `/transactions/${played[0]!}`,
    ])
      expect((await call(api(), 'GET', `/admin${path}`, { token: player.token })).body.code).to.equal(
        'FORBIDDEN',
      );
  });
});
