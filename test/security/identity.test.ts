import { createHmac, randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { Writable } from 'node:stream';
import { expect } from 'chai';
import { after, afterEach, before } from 'mocha';
import pg from 'pg';
import { createApi, type Api } from '../../api/create-api.ts';
import { loadConfig } from '../../common/config.ts';
import { closeServer, listen } from '../../common/health.ts';
import { createLogger } from '../../common/logger.ts';
import { createDatabase } from '../../common/postgres.ts';
import { ensureUser } from '../../common/seed.ts';
import { LEEWAY_S } from '../../common/identity/claims.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { environmentOf, startTier, useSystem, type RunningTier } from '../support/system.ts';
import { accessToken, ACCESS_SECRET, ACTION_SECRET, IdentityService, open, raw, tamper } from './forge.ts';

const outcome = ({ status, body }: Answer): string => `${status} ${body?.code ?? ''}`.trim();

describe('identity', function () {
  this.timeout(60_000);
  const stores = useStores();
  // Workers know the next secret already: jobs are signed, too.
  const system = useSystem(stores, {
    api: 2,
    clientSigned: true,
    env: {
      JWT_TRUST_ADMIN_ROLE: 'true',
      ACTION_TOKEN_SECRETS: `${ACTION_SECRET},the-next-action-token-secret-000000002`,
    },
  });
  const api = (i = 0): string => system.api[i]!.url;
  const opened: (() => Promise<void>)[] = [];
  /** One more instance, with settings of its own, until the test's end. */
  const instance = async (env: Record<string, string>): Promise<string> => {
    const tier: RunningTier = await startTier('api', stores, env);
    opened.push(() => tier.stop());
    return tier.url;
  };
  let db: pg.Client;
  before(async () => {
    db = new pg.Client({ connectionString: stores.databaseUrl, application_name: 'test' });
    await db.connect();
  });
  afterEach(async () => {
    for (const close of opened.splice(0)) await close();
  });
  after(() => db.end());

  const me = (url: string, token: string): Promise<Answer> => call(url, 'GET', '/users/me', { token });
  const refresh = (refreshToken: string, url = api()): Promise<Answer> =>
    call(url, 'POST', '/auth/refresh', { body: { refreshToken } });

  /** Lets the ten seconds pass in which a refresh token gives its successor again. */
  const passGrace = (userId: string): Promise<unknown> =>
    db.query(
      `update refresh_tokens set used_at = used_at - interval '11 s'
       where session_id in (select id from sessions where user_id = $1)`,
      [userId],
    );

  it('keeps passwords, refresh tokens and action tokens as hashes only', async () => {
    const player = await Player.join(api());
    const action = (await player.start(api())).body;
    const { rows } = await db.query<{ everything: string }>(
      `select (select jsonb_agg(u) from users u)::text || (select jsonb_agg(s) from sessions s)::text
         || (select jsonb_agg(t) from refresh_tokens t)::text || (select jsonb_agg(a) from actions a)::text as everything`,
    );
    const kept = rows[0]!.everything;
    for (const secret of [
      'correct horse battery',
      player.refreshToken,
      player.signingKey,
      action.actionToken,
    ])
      expect(kept).not.to.include(secret);
    const hash = await db.query<{ password_hash: string }>('select password_hash from users where id = $1', [
      player.userId,
    ]);
    expect(hash.rows[0]!.password_hash).to.match(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
  });

  it('answers a wrong name as it answers a wrong password', async () => {
    const player = await Player.join(api());
    const attempt = (username: string): Promise<Answer> =>
      call(api(), 'POST', '/auth/login', { body: { username, password: 'wrong password' } });
    const [known, unknown] = [await attempt(player.username), await attempt('nobody at all')];
    expect(known.status).to.equal(401);
    expect(known.body).to.deep.equal(unknown.body);
    expect(Object.keys(known.headers).sort()).to.deep.equal(Object.keys(unknown.headers).sort());
  });

  it('rotates refresh tokens, and ends the family when one is used twice', async () => {
    const player = await Player.join(api());
    const second = await refresh(player.refreshToken);
    expect(second.status).to.equal(200);
    expect(second.body.refreshToken).not.to.equal(player.refreshToken);
    expect(second.body.signingKey).to.equal(player.signingKey);
    await passGrace(player.userId);
    expect(outcome(await refresh(player.refreshToken, api(1)))).to.equal('401 REFRESH_TOKEN_REUSED');
    // The thief's newer token, or the owner's, is worth nothing now, nor is the signing key.
    expect(outcome(await refresh(second.body.refreshToken))).to.equal('401 REFRESH_TOKEN_REUSED');
    const timestamp = new Date().toISOString();
    const actionId = randomUUID();
    const signature = createHmac('sha256', player.signingKey)
      .update(`${actionId}.COMPLETE_TASK.global.${timestamp}`)
      .digest('hex');
    const body = { actionId, type: 'COMPLETE_TASK', timestamp, signature };
    expect(outcome(await call(api(), 'POST', '/completions', { token: player.token, body }))).to.equal(
      '403 SIGNATURE_INVALID',
    );
    // Another login of the same player goes on.
    const login = { username: player.username, password: 'correct horse battery' };
    expect((await call(api(), 'POST', '/auth/login', { body: login })).status).to.equal(200);
  });

  it('gives many parallel refreshes the same successor, which is good', async () => {
    const player = await Player.join(api());
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, i) => refresh(player.refreshToken, api(i % 2))),
    );
    expect(answers.map(outcome)).to.deep.equal(Array(10).fill('200'));
    expect(new Set(answers.map(({ body }) => body.refreshToken)).size).to.equal(1);
    const next = await refresh(answers[0]!.body.refreshToken);
    expect(next.status).to.equal(200);
    // The first one still answers as it did; once its ten seconds are over it is a theft.
    expect((await refresh(player.refreshToken)).body.refreshToken).to.equal(answers[0]!.body.refreshToken);
    await passGrace(player.userId);
    expect(outcome(await refresh(player.refreshToken))).to.equal('401 REFRESH_TOKEN_REUSED');
    expect(outcome(await refresh(next.body.refreshToken))).to.equal('401 REFRESH_TOKEN_REUSED');
  });

  it('refuses a token once it expires although it is remembered', async () => {
    const player = await Player.join(api());
    // Three seconds are left of the leeway for clocks that are behind.
    const exp = Math.floor(Date.now() / 1000) - LEEWAY_S + 3;
    const token = accessToken({ ...open(player.token).payload, exp });
    expect(outcome(await me(api(), token))).to.equal('200');
    await eventually(async () => expect(outcome(await me(api(), token))).to.equal('401 TOKEN_EXPIRED'), {
      timeoutMs: 10_000,
    });
  });

  it('ends a login by logout, and takes nobody for another', async () => {
    const player = await Player.join(api());
    expect(
      (await call(api(), 'POST', '/auth/logout', { body: { refreshToken: player.refreshToken } })).status,
    ).to.equal(204);
    expect(outcome(await refresh(player.refreshToken))).to.equal('401 REFRESH_TOKEN_REUSED');
    expect(outcome(await refresh('never given out'))).to.equal('401 UNAUTHENTICATED');
  });

  it('refuses a banned player at once and everywhere, and takes the player back afterwards', async () => {
    const player = await Player.join(api());
    const action = (await player.start(api())).body;
    const url = await instance({});
    expect((await me(url, player.token)).status).to.equal(200);
    const adminDb = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
    const adminId = await ensureUser(adminDb, 'warden', 'correct horse battery', 'admin').finally(() =>
      adminDb.destroy(),
    );
    const admin = accessToken({ sub: adminId, role: 'admin' });
    const ban = (method: string): Promise<Answer> =>
      call(api(), method, `/admin/users/${player.userId}/ban`, {
        token: admin,
        ...(method === 'POST' && { body: { reason: 'cheating' } }),
      });
    expect((await ban('POST')).status).to.equal(200);
    const login = { username: player.username, password: 'correct horse battery' };
    const asked = async (): Promise<string[]> => [
      outcome(await me(api(), player.token)),
      outcome(await player.start(api())),
      outcome(await player.complete(api(), action)),
      outcome(await call(api(), 'POST', '/auth/login', { body: login })),
      outcome(await refresh(player.refreshToken)),
      outcome(await call(api(), 'GET', '/leaderboards/global', { token: player.token })),
    ];
    expect(await asked()).to.deep.equal(Array(6).fill('403 USER_BANNED'));
    expect(outcome(await call(api(), 'POST', '/auth/login', { body: { ...login, password: 'x' } }))).to.equal(
      '401 BAD_CREDENTIALS',
    );
    // Another instance had the player in its memory.
    expect(outcome(await me(url, player.token))).to.equal('403 USER_BANNED');
    expect((await ban('DELETE')).status).to.equal(200);
    expect((await player.complete(api(), action)).status).to.equal(200);
    // The token that was refused during the ban was not used up by it.
    expect((await refresh(player.refreshToken)).status).to.equal(200);
  });

  describe('of outside services', () => {
    const service = new IdentityService();
    before(async () => {
      service.addKey('rsa');
      service.addKey('ec', 'ec');
      await service.start();
    });
    after(() => service.stop());

    it('accepts tokens by shared secret and by key, and makes their users where that is allowed', async () => {
      const url = await instance({ JWT_JWKS_URL: service.url, USER_PROVISIONING: 'auto' });
      const taken = await Player.join(api());
      const cases: [sub: string, username: string | undefined, token: (claims: object) => string][] = [
        ['outside|1', 'Ада Лавлейс', (claims) => accessToken(claims as never)],
        ['outside|2', 'Grace', (claims) => service.sign('rsa', claims as never)],
        ['outside|3', undefined, (claims) => service.sign('ec', claims as never)],
        ['outside|4', taken.username.toUpperCase(), (claims) => service.sign('ec', claims as never)],
        ['outside|5', '<script>', (claims) => service.sign('ec', claims as never)],
      ];
      for (const [sub, username, sign] of cases) {
        const token = sign({ sub, ...(username !== undefined && { username }) });
        expect(outcome(await me(api(), accessToken({ sub })))).to.equal('404 USER_NOT_FOUND');
        const answers = await Promise.all([me(url, token), me(url, token), me(url, token)]);
        expect(answers.map(({ status }) => status)).to.deep.equal([200, 200, 200]);
        expect(answers[0]!.body.userId).to.equal(sub);
        if (username === 'Grace' || sub === 'outside|1') expect(answers[0]!.body.username).to.equal(username);
        else expect(answers[0]!.body.username).to.match(/^player-[0-9a-f]{12}$/);
        expect(
          (await call(url, 'POST', '/actions', { token, body: { type: 'COMPLETE_TASK' } })).status,
        ).to.equal(201);
      }
    });

    it('checks issuer and audience when they are set, also of its own tokens', async () => {
      const player = await Player.join(api());
      const url = await instance({
        JWT_JWKS_URL: service.url,
        JWT_ISSUER: 'https://id.example',
        JWT_AUDIENCE: 'laurel',
      });
      const sub = player.userId;
      const right = { issuer: 'https://id.example', audience: 'laurel' };
      expect((await me(url, service.sign('rsa', { sub }, right))).status).to.equal(200);
      expect((await me(url, accessToken({ sub }, right))).status).to.equal(200);
      for (const wrong of [
        {},
        { ...right, issuer: 'https://evil.example' },
        { ...right, audience: 'another' },
      ]) {
        expect(outcome(await me(url, service.sign('rsa', { sub }, wrong)))).to.equal('401 UNAUTHENTICATED');
        expect(outcome(await me(url, accessToken({ sub }, wrong)))).to.equal('401 UNAUTHENTICATED');
      }
      const login = { username: player.username, password: 'correct horse battery' };
      const own = (await call(url, 'POST', '/auth/login', { body: login })).body.accessToken;
      expect((await me(url, own)).status).to.equal(200);
      expect(open(own).payload.exp - open(own).payload.iat).to.be.at.most(3600);
    });

    it('reads the keys once, again for a new one, and seldom for made-up ones', async () => {
      const player = await Player.join(api());
      const url = await instance({ JWT_JWKS_URL: service.url });
      const claims = { sub: player.userId };
      const before = service.requests;
      await Promise.all(Array.from({ length: 20 }, () => me(url, service.sign('rsa', claims))));
      expect(service.requests - before).to.equal(1);
      service.addKey('next');
      expect((await me(url, service.sign('next', claims))).status).to.equal(200);
      expect(service.requests - before).to.equal(2);
      const flood = await Promise.all(
        Array.from({ length: 50 }, (_, i) =>
          me(url, tamper(service.sign('rsa', claims), {}, { kid: `made up ${i}` })),
        ),
      );
      expect(flood.map(outcome)).to.deep.equal(Array(50).fill('401 UNAUTHENTICATED'));
      expect(service.requests - before).to.be.at.most(12);
      // The flood is nothing to those whose key is known.
      expect((await me(url, service.sign('rsa', claims))).status).to.equal(200);
    });

    it('goes on with the keys that it knows while the service is away, and says 503 when it knows none', async () => {
      const player = await Player.join(api());
      const claims = { sub: player.userId };
      const url = await instance({ JWT_JWKS_URL: service.url });
      expect((await me(url, service.sign('ec', claims))).status).to.equal(200);
      // Strangers need an account, and the operator is told so before the first one comes.
      const stranger = await me(url, service.sign('ec', { sub: 'nobody-knows-me' }));
      expect(stranger.body.detail).to.include('USER_PROVISIONING=auto');
      const known = (await call(url, 'GET', '//readyz')).body;
      expect(known.status).to.equal('ready');
      expect(known.warnings.join(' ')).to.match(/^USER_PROVISIONING is off/);
      service.broken = true;
      try {
        expect((await me(url, service.sign('ec', claims))).status).to.equal(200);
        const fresh = await instance({ JWT_JWKS_URL: service.url });
        const refused = await me(fresh, service.sign('ec', claims));
        expect(outcome(refused)).to.equal('503 UNAVAILABLE');
        expect(refused.headers).to.have.property('retry-after');
        const { warnings } = (await call(fresh, 'GET', '//readyz')).body;
        expect(warnings.join(' ')).to.include(`the keys at JWT_JWKS_URL (${service.url}) cannot be read`);
        expect((await me(fresh, player.token)).status).to.equal(200);
        service.broken = false;
        await eventually(async () =>
          expect((await me(fresh, service.sign('ec', claims))).status).to.equal(200),
        );
        const after = (await call(fresh, 'GET', '//readyz')).body;
        expect(after.warnings.join(' ')).not.to.include('cannot be read');
      } finally {
        service.broken = false;
      }
    });
  });

  it('accepts both generations of secrets while they rotate, and no longer the one that was dropped', async () => {
    const [jwt, action] = [
      'the-next-access-token-secret-000000002',
      'the-next-action-token-secret-000000002',
    ];
    const both = await instance({
      JWT_SECRETS: `${jwt},${ACCESS_SECRET}`,
      ACTION_TOKEN_SECRETS: `${action},${ACTION_SECRET}`,
    });
    const last = await instance({ JWT_SECRETS: jwt, ACTION_TOKEN_SECRETS: action });
    const player = await Player.join(api());
    const sign = (key: string): object => {
      const [actionId, timestamp] = [randomUUID(), new Date().toISOString()];
      const text = `${actionId}.COMPLETE_TASK.global.${timestamp}`;
      return {
        actionId,
        type: 'COMPLETE_TASK',
        timestamp,
        signature: createHmac('sha256', key).update(text).digest('hex'),
      };
    };
    const completeSigned = (url: string, token: string, key: string): Promise<Answer> =>
      call(url, 'POST', '/completions', { token, body: sign(key) });

    // Old tokens, where both secrets are known.
    const old = (await player.start(api())).body;
    const other = (await player.start(api())).body;
    expect((await player.complete(both, old)).status).to.equal(200);
    expect((await completeSigned(both, player.token, player.signingKey)).status).to.equal(200);
    // Where the old ones have been dropped, they are as good as forged.
    expect(outcome(await me(last, player.token))).to.equal('401 UNAUTHENTICATED');
    const renewed = (await refresh(player.refreshToken, both)).body;
    expect((await me(last, renewed.accessToken)).status).to.equal(200);
    expect(
      outcome(
        await call(last, 'POST', `/actions/${other.actionId}/complete`, {
          token: renewed.accessToken,
          body: { actionToken: other.actionToken },
        }),
      ),
    ).to.equal('403 ACTION_TOKEN_INVALID');
    expect(outcome(await completeSigned(last, renewed.accessToken, player.signingKey))).to.equal(
      '403 SIGNATURE_INVALID',
    );
    // A refresh brought the new signing key.
    expect(renewed.signingKey).not.to.equal(player.signingKey);
    expect((await completeSigned(last, renewed.accessToken, renewed.signingKey)).status).to.equal(200);
    // An expired token of the older secret is told to refresh, whichever secret is tried first.
    const expired = accessToken({ sub: player.userId, exp: Math.floor(Date.now() / 1000) - 5 });
    expect(outcome(await me(both, expired))).to.equal('401 TOKEN_EXPIRED');
  });
});

describe('the security log', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores, { api: 0, clientSigned: true });
  const lines: string[] = [];
  let app: Api;
  let server: Server;
  let url: string;
  before(async () => {
    const config = loadConfig(environmentOf(stores, { RATE_LIMIT_READ_PER_MINUTE: '5' }));
    const stream = new Writable({
      write(chunk, _encoding, done) {
        lines.push(String(chunk));
        done();
      },
    });
    app = await createApi(config, createLogger('api', 'trace', stream));
    server = createServer(app.handle);
    url = `http://127.0.0.1:${await listen(server, 0, '127.0.0.1', 'PORT')}`;
    expect(system.workers).to.have.length(1);
  });
  after(async () => {
    await app.close();
    await closeServer(server, 100);
  });

  it('has a line and a count for each thing that matters, and no secret or person in it', async () => {
    const [player, other] = [await Player.join(url), await Player.join(url)];
    const action = (await player.start(url)).body;
    const evil = 'evil"}\n{"level":"fatal","event":"forged"}';
    const secrets = [
      'correct horse battery',
      'a wrong password',
      player.refreshToken,
      player.token,
      player.signingKey,
      action.actionToken,
      `${player.username}@example.org`,
    ];
    await call(url, 'POST', '/auth/login', {
      body: { username: player.username, password: 'a wrong password' },
    });
    await call(url, 'POST', '/auth/login', { body: { username: evil, password: 'a wrong password' } });
    await call(url, 'GET', '/users/me', {
      token: tamper(player.token, { role: 'admin' }),
      headers: { 'x-request-id': 'log-injection: x', 'user-agent': 'evil"agent' },
    });
    await call(url, 'POST', `/actions/${action.actionId}/complete`, {
      token: player.token,
      body: { actionToken: tamper(action.actionToken, { pts: 100 }) },
    });
    await call(url, 'POST', `/actions/${action.actionId}/complete`, {
      token: other.token,
      body: { actionToken: action.actionToken },
    });
    await player.complete(url, action);
    await player.complete(url, action);
    await call(url, 'POST', '/auth/refresh', { body: { refreshToken: player.refreshToken } });
    const db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
    await db('refresh_tokens').update({ used_at: db.raw(`used_at - interval '11 s'`) });
    await db.destroy();
    await call(url, 'POST', '/auth/refresh', { body: { refreshToken: player.refreshToken } });
    // A client that goes on after its logout is no thief.
    await call(url, 'POST', '/auth/logout', { body: { refreshToken: other.refreshToken } });
    await call(url, 'POST', '/auth/refresh', { body: { refreshToken: other.refreshToken } });
    for (let i = 0; i < 6; i += 1) await call(url, 'GET', '/users/me', { token: player.token });
    await raw(url, 'GET', '/admin/queues', { authorization: `Bearer ${player.token}` });
    await raw(url, 'POST', '/admin/sign-in', { origin: 'https://evil.example' });

    const metrics = String((await call(url, 'GET', '//metrics')).body);
    const events = lines.map((line) => JSON.parse(line)).filter(({ channel }) => channel === 'security');
    const expected: Record<string, [count: number, userId: string | undefined]> = {
      sign_in_failed: [2, player.userId],
      access_token_refused: [1, undefined],
      action_token_forged: [1, player.userId],
      action_token_foreign: [1, other.userId],
      replay: [1, player.userId],
      refresh_token_reused: [1, player.userId],
      ended_login_refreshed: [1, other.userId],
      limit_breached: [1, player.userId],
      forbidden: [1, undefined],
      foreign_origin_refused: [1, undefined],
    };
    for (const [event, [count, userId]] of Object.entries(expected)) {
      const logged = events.filter((entry) => entry.event === event);
      expect(logged, event).to.have.length(count);
      expect(logged[0]).to.deep.include({ ip: '127.0.0.1' });
      expect(logged[0].userId, event).to.equal(userId);
      if (event === 'access_token_refused') expect(logged[0].reason).to.equal('signature: of no known key');
      expect(metrics).to.match(
        new RegExp(`laurel_security_events_total\\{event="${event}",tier="api"\\} ${count}`),
      );
    }
    for (const secret of secrets) expect(lines.join('')).not.to.include(secret);
    expect(lines.join('')).not.to.include('evil');
  });
});
