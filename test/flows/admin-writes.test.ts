import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { after, before } from 'mocha';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { administrator } from '../support/administrator.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { startTier, useSystem, type RunningTier } from '../support/system.ts';
import { accessToken } from '../security/forge.ts';

describe('administrators’ writes', function () {
  this.timeout(30_000);
  const stores = useStores();
  const system = useSystem(stores, { api: 2 });
  const api = (process = 0): string => system.api[process]!.url;
  let db: Database;
  let admin: Player;

  /** of the workers that a test has stopped */
  let successor: RunningTier | undefined;

  before(async () => {
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 3 }, 'test');
    admin = await administrator(stores.databaseUrl, api());
  });
  after(async () => {
    await successor?.stop();
    await db.destroy();
  });

  const write = (
    method: string,
    path: string,
    body?: unknown,
    key?: string,
    { process = 0, token = admin.token }: { process?: number; token?: string } = {},
  ): Promise<Answer> =>
    call(api(process), method, path, {
      token,
      ...(body !== undefined && { body }),
      ...(key !== undefined && { headers: { 'idempotency-key': key } }),
    });
  const adjust = (player: Player, delta: number, key?: string, process = 0): Promise<Answer> =>
    write(
      'POST',
      `/admin/users/${player.userId}/adjustments`,
      { leaderboard: 'game1', delta, reason: 'a test' },
      key,
      {
        process,
      },
    );
  const auditOf = (action: string, subject: string) =>
    db('audit_log').where({ action, subject }).orderBy('id') as Promise<
      { actor: string; details: Record<string, unknown> }[]
    >;
  const entries = async (player: Player): Promise<number> =>
    Number((await db('ledger').where({ user_id: player.userId }).count('* as n').first())?.['n']);

  it('take an idempotency key, every one of them', async () => {
    const { body: document } = await call(api(), 'GET', '//openapi.json');
    const writes = Object.entries<any>(document.paths).flatMap(([path, methods]) =>
      Object.entries<any>(methods).flatMap(([method, operation]) =>
        path.startsWith('/api/v1/admin/') && method !== 'get' ? [{ path, method, operation }] : [],
      ),
    );
    expect(writes.length).to.be.above(8);
    for (const { path, method, operation } of writes) {
      const header = operation.parameters.find(({ name }: { name: string }) => name === 'Idempotency-Key');
      expect(header, `${method} ${path}`).to.include({ in: 'header' });
      expect(header.required, `${method} ${path}`).to.equal(/adjustments|rollback/.test(path));
      expect(operation.responses, `${method} ${path}`).to.have.property('409');
    }
  });

  it('refuse a correction without a key, and a key that is none', async () => {
    const player = await Player.join(api());
    for (const key of ['', 'x'.repeat(129), 'with space']) {
      const answer = await adjust(player, 10, key);
      expect([answer.status, answer.body.code], JSON.stringify(key)).to.deep.equal([400, 'INVALID_REQUEST']);
      expect(answer.body.errors[0].path).to.equal('Idempotency-Key');
    }
    expect(await entries(player)).to.equal(0);
    expect((await adjust(player, 10, 'x'.repeat(128))).status).to.equal(200);
  });

  it('correct a score once, however often and wherever the same request is sent', async () => {
    const player = await Player.join(api());
    const key = randomUUID();
    const answers = await Promise.all([0, 1, 0, 1].map((process) => adjust(player, 50, key, process)));
    answers.push(await adjust(player, 50, key, 1));
    expect(answers.map(({ status }) => status)).to.deep.equal([200, 200, 200, 200, 200]);
    for (const { body } of answers) expect(body).to.deep.equal(answers[0]!.body);
    expect(answers[0]!.body).to.deep.include({
      requested: 50,
      delta: 50,
      score: { previous: 0, current: 50, delta: 50 },
    });
    expect(await entries(player)).to.equal(1);
    const lines = await auditOf('score.adjust', player.userId);
    expect(lines).to.have.length(1);
    expect(lines[0]).to.deep.include({ actor: admin.userId });
    expect(lines[0]!.details).to.deep.include({ delta: 50, transactionId: answers[0]!.body.transactionId });

    const other = await adjust(player, 51, key);
    expect([other.status, other.body.code]).to.deep.equal([409, 'IDEMPOTENCY_KEY_REUSED']);
    expect(await entries(player)).to.equal(1);
  });

  it('refuse a correction that cannot be applied, and say what a clipped one did', async () => {
    const player = await Player.join(api());
    await adjust(player, 100);
    for (const delta of [1_000_001, -1_000_001, 2 ** 31, 999_999_999_999]) {
      const answer = await adjust(player, delta);
      expect([answer.status, answer.body.code], String(delta)).to.deep.equal([400, 'INVALID_REQUEST']);
    }
    expect(await auditOf('score.adjust', player.userId)).to.have.length(1);
    expect((await adjust(player, -500)).body).to.deep.include({ requested: -500, delta: -100 });
    const nothing = await write('POST', `/admin/transactions/${randomUUID()}/rollback`, { reason: 'x' });
    expect([nothing.status, nothing.body.code]).to.deep.equal([404, 'NOT_FOUND']);
  });

  it('lose no correction that was promised, though Redis forgets everything', async () => {
    const player = await Player.join(api());
    const key = randomUUID();
    await Promise.all(system.workers.map((tier) => tier.stop()));
    const promised = await adjust(player, 70, key);
    expect(promised.status).to.equal(202);
    expect(promised.body).to.deep.equal({ transactionId: promised.body.transactionId, status: 'queued' });
    expect(await auditOf('score.adjust', player.userId)).to.have.length(1);
    await stores.redis.flush();
    successor = await startTier('workers', stores);
    await eventually(async () => expect(await entries(player)).to.equal(1), { timeoutMs: 20_000 });
    const again = await adjust(player, 70, key, 1);
    expect([again.status, again.body.transactionId]).to.deep.equal([200, promised.body.transactionId]);
    expect(again.body.delta).to.equal(70);
    expect(await entries(player)).to.equal(1);
    expect(await db('queued_corrections')).to.deep.equal([]);
  });

  it('ban nobody by accident: not the caller, not the last administrator', async () => {
    const own = await write('POST', `/admin/users/${admin.userId}/ban`, { reason: 'oops' });
    expect([own.status, own.body.code]).to.deep.equal([400, 'INVALID_REQUEST']);
    // Nor where others are left.
    const second = await Player.join(api());
    await db('users').where({ id: second.userId }).update({ role: 'admin' });
    const { token } = await Player.signIn(api(), second.username, 'correct horse battery');
    await eventually(async () => {
      const path = `/admin/users/${second.userId}/ban`;
      const other = await write('POST', path, { reason: 'oops' }, undefined, { token });
      expect([other.status, other.body.code]).to.deep.equal([400, 'INVALID_REQUEST']);
    });
    await db('users').where({ id: second.userId }).update({ role: 'player' });
    // Who is an administrator by an outside token alone leaves the last one here in place, too.
    const outside = await startTier('api', stores, { JWT_TRUST_ADMIN_ROLE: 'true' });
    try {
      const sub = 'outside-operator';
      await db('users').insert({ id: sub, username: sub, username_key: sub });
      const last = await call(outside.url, 'POST', `/admin/users/${admin.userId}/ban`, {
        token: accessToken({ sub, role: 'admin' }),
        body: { reason: 'oops' },
      });
      expect([last.status, last.body.detail]).to.deep.equal([
        400,
        'This is the last administrator. Make another one first.',
      ]);
    } finally {
      await outside.stop();
    }
    expect(await auditOf('user.ban', admin.userId)).to.deep.equal([]);
    expect((await call(api(), 'GET', '/admin/features', { token: admin.token })).status).to.equal(200);
  });

  it('write down bans and switches with who did it, before they answer, and nothing that failed', async () => {
    const player = await Player.join(api());
    const key = randomUUID();
    for (const time of ['first', 'second'])
      expect(
        (await write('POST', `/admin/users/${player.userId}/ban`, { reason: 'cheating' }, key)).status,
        time,
      ).to.equal(200);
    expect(await auditOf('user.ban', player.userId)).to.have.length(1);
    await write('DELETE', `/admin/users/${player.userId}/ban`);
    expect((await auditOf('user.unban', player.userId)).map(({ actor }) => actor)).to.deep.equal([
      admin.userId,
    ]);
    expect((await write('POST', '/admin/users/nobody-at-all/ban', { reason: 'x' })).status).to.equal(404);
    expect(await auditOf('user.ban', 'nobody-at-all')).to.deep.equal([]);

    await write('PUT', '/admin/features/broadcast', { enabled: true });
    const [line] = await auditOf('feature.set', 'broadcast');
    expect(line).to.deep.include({ actor: admin.userId, details: { enabled: true, mutedLeaderboards: [] } });
  });

  it('roll back the whole write, key included, when the line cannot be written', async () => {
    const player = await Player.join(api());
    await db.raw(
      `alter table audit_log add constraint no_test_lines check (details ->> 'reason' <> 'unwritable')`,
    );
    const key = randomUUID();
    try {
      const failed = await write('POST', `/admin/users/${player.userId}/ban`, { reason: 'unwritable' }, key);
      expect(failed.status).to.equal(500);
      const row = await db('users').where({ id: player.userId }).first('banned_at');
      expect(row.banned_at).to.equal(null);
      expect(await db('idempotency_keys').where({ key })).to.deep.equal([]);
    } finally {
      await db.raw('alter table audit_log drop constraint no_test_lines');
    }
    expect(
      (await write('POST', `/admin/users/${player.userId}/ban`, { reason: 'unwritable' }, key)).status,
    ).to.equal(200);
  });

  it('make a definition once, and say so when a key is taken', async () => {
    const key = randomUUID();
    const body = { key: 'arena', title: 'Arena' };
    const [first, second] = [
      await write('POST', '/admin/leaderboards', body, key),
      await write('POST', '/admin/leaderboards', { title: 'Arena', key: 'arena' }, key),
    ];
    expect([first.status, second.status]).to.deep.equal([201, 201]);
    expect(second.body).to.deep.equal(first.body);
    expect(second.headers['location']).to.equal('/api/v1/admin/leaderboards/arena');
    const taken = await write('POST', '/admin/leaderboards', body);
    expect([taken.status, taken.body.code]).to.deep.equal([409, 'KEY_TAKEN']);
    expect(first.headers['cache-control']).to.equal('private, no-store');
  });
});
