import { expect } from 'chai';
import { after, before } from 'mocha';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { expireLogins } from '../../workers/maintenance/expire-logins.ts';
import { administrator } from '../support/administrator.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';
import { accessToken, open } from './forge.ts';

const PASSWORD = 'correct horse battery';
const outcome = ({ status, body }: Answer): string => `${status} ${body?.code ?? ''}`.trim();

describe('logins', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores, { api: 2 });
  const api = (i = 0): string => system.api[i]!.url;
  let db: Database;
  before(() => {
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
  });
  after(() => db.destroy());

  const me = (token: string, i = 0): Promise<Answer> => call(api(i), 'GET', '/users/me', { token });
  const refresh = (refreshToken: string): Promise<Answer> =>
    call(api(), 'POST', '/auth/refresh', { body: { refreshToken } });
  const login = (username: string, password = PASSWORD): Promise<Answer> =>
    call(api(), 'POST', '/auth/login', {
      body: { username, password },
      headers: { 'user-agent': 'a phone' },
    });
  const sessionOf = (token: string): string => open(token).payload.sid as string;
  /** The access tokens end on every instance. */
  const ended = async (...tokens: string[]): Promise<void> => {
    for (const token of tokens)
      for (const i of [0, 1])
        await eventually(async () => expect(outcome(await me(token, i))).to.equal('401 UNAUTHENTICATED'));
  };

  it('are listed, and ended one by one or all but the own', async () => {
    const player = await Player.join(api());
    const [second, third] = [await login(player.username), await login(player.username)].map(
      ({ body }) => body,
    );
    const list = async (): Promise<any[]> =>
      (await call(api(), 'GET', '/auth/sessions', { token: player.token })).body.sessions;
    const ids = [third, second]
      .map(({ accessToken: token }) => sessionOf(token))
      .concat(sessionOf(player.token));
    const listed = await list();
    expect(listed.map(({ id }) => id)).to.deep.equal(ids);
    expect(listed.map(({ current }) => current)).to.deep.equal([false, false, true]);
    expect(listed[0]).to.include({ userAgent: 'a phone' });
    for (const field of ['createdAt', 'lastUsedAt', 'expiresAt'])
      expect(Date.parse(listed[0][field])).to.be.above(0);

    const end = (id: string, token = player.token): Promise<Answer> =>
      call(api(), 'DELETE', `/auth/sessions/${id}`, { token });
    const stranger = await Player.join(api());
    expect(outcome(await end(sessionOf(second.accessToken), stranger.token))).to.equal('404 NOT_FOUND');
    expect(outcome(await end(sessionOf(second.accessToken)))).to.equal('204');
    expect(outcome(await end(sessionOf(second.accessToken)))).to.equal('404 NOT_FOUND');
    expect(outcome(await refresh(second.refreshToken))).to.equal('401 REFRESH_TOKEN_REUSED');
    expect((await list()).map(({ id }) => id)).to.deep.equal([ids[0], ids[2]]);

    expect((await call(api(), 'DELETE', '/auth/sessions', { token: player.token })).status).to.equal(204);
    expect((await list()).map(({ id }) => id)).to.deep.equal([ids[2]]);
    expect(outcome(await refresh(third.refreshToken))).to.equal('401 REFRESH_TOKEN_REUSED');
    expect(outcome(await refresh(player.refreshToken))).to.equal('200');
    expect(outcome(await refresh(stranger.refreshToken))).to.equal('200');
  });

  it('are 20 a user at most: the oldest ends', async () => {
    const player = await Player.join(api());
    const later: Answer[] = [];
    for (let i = 0; i < 20; i += 1) later.push(await login(player.username));
    expect(outcome(await refresh(player.refreshToken))).to.equal('401 REFRESH_TOKEN_REUSED');
    for (const { body } of [later[0]!, later[19]!])
      expect(outcome(await refresh(body.refreshToken as string))).to.equal('200');
  });

  it('are deleted when they are dead, and not before', async () => {
    const [live, expired, revoked] = [
      await Player.join(api()),
      await Player.join(api()),
      await Player.join(api()),
    ];
    const { body: newest } = await refresh(live.refreshToken);
    await call(api(), 'POST', '/auth/logout', { body: { refreshToken: revoked.refreshToken } });
    const tokensOf = ({ token }: Player) => db('refresh_tokens').where({ session_id: sessionOf(token) });
    await tokensOf(expired).update({ expires_at: db.raw(`now() - interval '23 hours'`) });
    const left = async (): Promise<boolean[]> =>
      Promise.all(
        [live, expired, revoked].map(async ({ token }) => {
          const row: unknown = await db('sessions')
            .where({ id: sessionOf(token) })
            .first('id');
          return row !== undefined;
        }),
      );
    await expireLogins(db, 60);
    expect(await left()).to.deep.equal([true, true, true]);
    await tokensOf(expired).update({ expires_at: db.raw(`now() - interval '25 hours'`) });
    await db('sessions')
      .where({ id: sessionOf(revoked.token) })
      .update({ revoked_at: db.raw(`now() - interval '25 hours'`) });
    const reset = { user_id: live.userId, created_by: 'cli' };
    await db('password_resets').insert({
      ...reset,
      token_hash: Buffer.from('past'),
      expires_at: db.raw(`now() - interval '1 s'`),
    });
    // A login lives on by its newest token when its first one is long dead.
    await tokensOf(live)
      .whereNotNull('used_at')
      .update({ expires_at: db.raw(`now() - interval '25 hours'`) });
    expect(await expireLogins(db, 60)).to.equal(2);
    expect(await db('password_resets')).to.deep.equal([]);
    expect(await left()).to.deep.equal([true, false, false]);
    expect(await tokensOf(revoked)).to.have.length(0);
    expect(await tokensOf(live)).to.have.length(1);
    expect(outcome(await refresh(newest.refreshToken as string))).to.equal('200');
  });

  it('refuse an expired refresh token', async () => {
    const player = await Player.join(api());
    await db('refresh_tokens')
      .where({ session_id: sessionOf(player.token) })
      .update({ expires_at: db.raw(`now() - interval '1 s'`) });
    expect(outcome(await refresh(player.refreshToken))).to.equal('401 UNAUTHENTICATED');
  });

  it('end with a change of password, access tokens included; the caller gets a new one', async () => {
    const player = await Player.join(api());
    const other = (await login(player.username)).body;
    const change = (current: string, next: string, token = player.token): Promise<Answer> =>
      call(api(), 'POST', '/auth/password', { token, body: { current, new: next } });
    expect(outcome(await change('not the password', 'another fine password'))).to.equal(
      '401 BAD_CREDENTIALS',
    );
    expect(outcome(await change(PASSWORD, 'short'))).to.equal('400 INVALID_REQUEST');
    expect(outcome(await me(player.token))).to.equal('200');
    const changed = await change(PASSWORD, 'another fine password');
    expect(changed.status).to.equal(200);
    await ended(player.token, other.accessToken as string);
    expect(outcome(await me(changed.body.accessToken as string, 1))).to.equal('200');
    expect(outcome(await refresh(changed.body.refreshToken as string))).to.equal('200');
    for (const token of [player.refreshToken, other.refreshToken])
      expect(outcome(await refresh(token as string))).to.equal('401 REFRESH_TOKEN_REUSED');
    expect(outcome(await login(player.username))).to.equal('401 BAD_CREDENTIALS');
    expect(outcome(await login(player.username, 'another fine password'))).to.equal('200');
  });

  it('have no password to change where an outside service has it', async () => {
    await db('users').insert({ id: 'outside-1', username: 'outside-1', username_key: 'outside-1' });
    const body = { current: 'x', new: 'another fine password' };
    const answer = await call(api(), 'POST', '/auth/password', {
      token: accessToken({ sub: 'outside-1' }),
      body,
    });
    expect(outcome(answer)).to.equal('403 FORBIDDEN');
  });

  it('end with the reset of a forgotten password, by a token that works once and is kept as a hash', async () => {
    const player = await Player.join(api());
    const admin = await administrator(stores.databaseUrl, api());
    const issue = (token: string): Promise<Answer> =>
      call(api(), 'POST', `/admin/users/${player.userId}/password-reset`, { token });
    expect(outcome(await issue(player.token))).to.equal('403 FORBIDDEN');
    const [first, second] = [await issue(admin.token), await issue(admin.token)];
    expect(first.status).to.equal(201);
    expect(Date.parse(second.body.expiresAt as string) - Date.now()).to.be.within(3_500_000, 3_600_000);
    const { rows } = await db.raw<{ rows: { kept: string }[] }>(
      `select (select jsonb_agg(r) from password_resets r)::text || (select jsonb_agg(a) from audit_log a)::text as kept`,
    );
    expect(rows[0]!.kept).to.include('user.password_reset').and.not.include(second.body.token);

    const reset = (token: unknown, password = 'a password of mine'): Promise<Answer> =>
      call(api(), 'POST', '/auth/password/reset', { body: { token, password } });
    // The newest counts, once, and not for a password that is none.
    expect(outcome(await reset(first.body.token))).to.equal('401 UNAUTHENTICATED');
    expect(outcome(await reset(second.body.token, 'short'))).to.equal('400 INVALID_REQUEST');
    const both = await Promise.all([reset(second.body.token), reset(second.body.token)]);
    expect(both.map(outcome).sort()).to.deep.equal(['204', '401 UNAUTHENTICATED']);
    await ended(player.token);
    expect(outcome(await refresh(player.refreshToken))).to.equal('401 REFRESH_TOKEN_REUSED');
    expect(outcome(await login(player.username, 'a password of mine'))).to.equal('200');
    expect(outcome(await login(player.username))).to.equal('401 BAD_CREDENTIALS');

    const late = (await issue(admin.token)).body.token as string;
    await db('password_resets').update({ expires_at: db.raw(`now() - interval '1 s'`) });
    expect(outcome(await reset(late))).to.equal('401 UNAUTHENTICATED');
  });

  it('of an hour do not erase an account without its password', async () => {
    const player = await Player.join(api());
    const now = Math.floor(Date.now() / 1000);
    const old = accessToken({ ...open(player.token).payload, iat: now - 1000, exp: now + 600 });
    const erase = (token: string, body?: object): Promise<Answer> =>
      call(api(), 'DELETE', '/users/me', { token, ...(body && { body }) });
    expect(outcome(await erase(old))).to.equal('403 FORBIDDEN');
    expect(outcome(await erase(old, { password: 'not the password' }))).to.equal('401 BAD_CREDENTIALS');
    expect(outcome(await me(player.token))).to.equal('200');
    expect(outcome(await erase(old, { password: PASSWORD }))).to.equal('204');
    const fresh = await Player.join(api());
    // A refresh makes a token younger, and the login no younger.
    const aged = await Player.join(api());
    await db('sessions')
      .where({ user_id: aged.userId })
      .update({ created_at: db.raw(`now() - interval '16 min'`) });
    const refreshed = await refresh(aged.refreshToken);
    expect(outcome(await erase(refreshed.body.accessToken))).to.equal('403 FORBIDDEN');
    expect(outcome(await erase(fresh.token))).to.equal('204');
  });

  it('that have ended change nothing of the account, although their access tokens still play', async () => {
    const player = await Player.join(api());
    const { body: kept } = await login(player.username);
    expect(
      outcome(
        await call(api(), 'POST', '/auth/logout', {
          token: player.token,
          body: { refreshToken: player.refreshToken },
        }),
      ),
    ).to.equal('204');
    for (const [method, path, body] of [
      ['GET', '/auth/sessions'],
      ['DELETE', '/auth/sessions'],
      ['DELETE', `/auth/sessions/${sessionOf(kept.accessToken)}`],
      ['POST', '/auth/password', { current: PASSWORD, new: 'a password of theirs' }],
      ['PATCH', '/users/me', { username: `taken${process.pid}` }],
      ['DELETE', '/users/me', {}],
      ['DELETE', '/users/me', { password: PASSWORD }],
      ['GET', '/users/me/export'],
    ] as const) {
      const answer = await call(api(), method, path, { token: player.token, ...(body && { body }) });
      expect(outcome(answer), `${method} ${path}`).to.equal('401 UNAUTHENTICATED');
    }
    expect(outcome(await refresh(kept.refreshToken))).to.equal('200');
    expect((await player.play(api())).status).to.equal(200);
  });
});
