import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { after, before } from 'mocha';
import pg from 'pg';
import { io } from 'socket.io-client';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';
import { accessTokenAttacks } from './attacks/access-tokens.ts';
import { actionTokenAttacks } from './attacks/action-tokens.ts';
import { bodyAttacks } from './attacks/bodies.ts';
import { injectionAttacks } from './attacks/injections.ts';
import { operatorAttacks } from './attacks/operators.ts';
import { signed, signedAttacks } from './attacks/signed.ts';
import type { Attack, World } from './attacks/world.ts';
import { accessToken, ACCESS_SECRET, assemble, IdentityService, open, raw, tamper } from './forge.ts';

describe('attacks', function () {
  this.timeout(60_000);
  const identity = new IdentityService();
  before('start the identity service', async () => {
    identity.addKey('first');
    await identity.start();
  });
  after(() => identity.stop());
  const stores = useStores();
  const system = useSystem(stores, {
    api: 2,
    realtime: 1,
    clientSigned: true,
    env: {
      get JWT_JWKS_URL() {
        return identity.url;
      },
    },
  });
  let db: pg.Client;
  let redis: Redis;
  let world: World;
  let untouched: unknown;

  /** What nobody may change without having earned it: the ledger, the scores, the boards. */
  async function whatCounts(): Promise<unknown> {
    const rows = async (sql: string): Promise<unknown[]> =>
      (await db.query<Record<string, unknown>>(sql)).rows;
    const keys = (await redis.keys('laurel:{g*:*}*')).sort();
    const boards: Record<string, unknown> = {};
    for (const key of keys) {
      const type = await redis.type(key);
      boards[key] =
        type === 'zset'
          ? await redis.call('zrange', key, '0', '-1', 'WITHSCORES')
          : type === 'hash'
            ? await redis.hgetall(key)
            : await redis.get(key);
    }
    return {
      ledger: await rows('select * from ledger order by id'),
      scores: await rows('select * from scores order by board_period_id, user_id'),
      completed: await rows(
        `select id from actions where status not in ('started', 'cancelled') order by id`,
      ),
      users: await rows('select id, username, role, banned_at from users order by id'),
      boards,
    };
  }

  before('let the players in', async () => {
    const api = system.api[0]!.url;
    db = new pg.Client({ connectionString: stores.databaseUrl, application_name: 'test' });
    await db.connect();
    redis = new Redis(stores.redis.url);
    const attacker = await Player.join(api, 'mallory');
    const victim = await Player.join(api, 'alice');
    const login = await call(api, 'POST', '/auth/login', {
      body: { username: 'mallory', password: 'correct horse battery' },
    });
    const ended = Object.assign(Object.create(Player.prototype) as Player, {
      ...login.body,
      userId: attacker.userId,
      token: login.body.accessToken,
    });
    await call(api, 'POST', '/auth/logout', { body: { refreshToken: login.body.refreshToken } });
    const [own, foreign, spent, cancelled] = await Promise.all([
      attacker.start(api),
      victim.start(api),
      attacker.start(api),
      attacker.start(api),
    ]);
    expect((await attacker.complete(api, spent.body)).status).to.equal(200);
    await call(api, 'POST', `/actions/${cancelled.body.actionId}/cancel`, { token: attacker.token });
    const foreignClientId = randomUUID();
    world = {
      api,
      other: system.api[1]!.url,
      live: system.realtime[0]!.url,
      identity,
      attacker,
      victim,
      own: own.body,
      foreign: foreign.body,
      spent: spent.body,
      cancelled: cancelled.body,
      foreignClientId,
      ended,
    };
    expect((await signed(world, victim, { actionId: foreignClientId })).status).to.equal(200);
    untouched = await whatCounts();
    expect((untouched as { ledger: unknown[] }).ledger).to.have.length(2);
    expect(Object.keys((untouched as { boards: object }).boards)).not.to.have.length(0);
  });
  after(async () => {
    redis.disconnect();
    await db.end();
  });

  const table = (title: string, attacks: Attack[]): Mocha.Suite =>
    describe(title, () => {
      for (const [name, status, code, send] of attacks)
        it(`${name}: ${status} ${code}`, async () => {
          const answer = await send(world);
          expect([answer.status, answer.body.code ?? answer.body], JSON.stringify(answer.body)).to.deep.equal(
            [status, code],
          );
          expect(answer.headers['content-type']).to.include('application/problem+json');
          expect(answer.headers).to.have.property('x-request-id');
          expect(answer.headers).not.to.have.property('x-injected');
          expect(JSON.stringify(answer.body)).not.to.match(/ at .*:\d+:\d+|select |node_modules|ECONN/);
        });
    });

  table('with access tokens', accessTokenAttacks);
  table('with action tokens', actionTokenAttacks);
  table('with client-signed completions', signedAttacks);
  table('with text that means something elsewhere', injectionAttacks);
  table('with bodies, addresses and methods', bodyAttacks);
  table('on the operators’ pages', operatorAttacks);

  it('reach no route of the operators’ API', async () => {
    const document = (await call(world.api, 'GET', '//openapi.json')).body;
    const routes = Object.entries<Record<string, unknown>>(document.paths)
      .filter(([path]) => path.startsWith('/api/v1/admin/'))
      .flatMap(([path, methods]) =>
        Object.keys(methods).map((method) => [method.toUpperCase(), path] as const),
      );
    expect(routes.length).to.be.above(10);
    const { userId, token } = world.attacker;
    const operatorsCookie = `laurel_admin=${accessToken({ sub: userId, role: 'admin' })}`;
    for (const [method, path] of routes) {
      const ask = (options: Parameters<typeof call>[3]): Promise<Answer> =>
        call(world.api, method, `/${path.replaceAll(/\{\w+\}/g, 'x')}`, {
          // The role is checked before the body.
          ...(method !== 'GET' && method !== 'DELETE' && { body: '{"no":' }),
          ...options,
        });
      const outcomes = [
        await ask({}),
        await ask({ token }),
        await ask({ token: tamper(token, { role: 'admin' }) }),
        await ask({ headers: { cookie: operatorsCookie } }),
      ].map(({ status, body }) => `${status} ${body.code}`);
      expect(outcomes, `${method} ${path}`).to.deep.equal([
        '401 UNAUTHENTICATED',
        '403 FORBIDDEN',
        '401 UNAUTHENTICATED',
        '401 UNAUTHENTICATED',
      ]);
    }
  });

  describe('from foreign pages', () => {
    it('lets no foreign page read an answer, nor ask beforehand', async () => {
      const origin = 'https://evil.example';
      const answer = await call(world.api, 'GET', '/leaderboards/global', { headers: { origin } });
      expect(answer.headers).not.to.have.property('access-control-allow-origin');
      const preflight = await raw(world.api, 'OPTIONS', '/api/v1/actions', {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization',
      });
      expect(preflight.headers).not.to.have.property('access-control-allow-origin');
      expect(preflight.headers).not.to.have.property('access-control-allow-methods');
    });

    for (const origin of ['https://evil.example', 'null', 'http://127.0.0.1.evil.example'])
      for (const transport of ['websocket', 'polling'])
        it(`opens no socket for a page of ${origin} by ${transport}`, async () => {
          const socket = io(world.live, {
            transports: [transport],
            extraHeaders: { origin },
            auth: { token: world.attacker.token },
            reconnection: false,
            forceNew: true,
          });
          const outcome = await new Promise((resolve) => {
            socket.on('connect', () => resolve('connected'));
            socket.on('connect_error', () => resolve('refused'));
          });
          socket.disconnect();
          expect(outcome).to.equal('refused');
        });

    it('opens no socket with a forged token', async () => {
      for (const token of [
        assemble({ alg: 'none' }, open(world.victim.token).payload),
        tamper(world.attacker.token, { sub: world.victim.userId }),
        assemble({ alg: 'HS256', typ: 'JWT' }, 'no JSON', ACCESS_SECRET),
        'x',
      ]) {
        const socket = io(world.live, {
          transports: ['websocket'],
          auth: { token },
          reconnection: false,
          forceNew: true,
        });
        const code = await new Promise((resolve) => {
          socket.on('connect', () => resolve('connected'));
          socket.on('connect_error', (error: Error & { data?: { code: string } }) =>
            resolve(error.data?.code),
          );
        });
        socket.disconnect();
        expect(code).to.equal('UNAUTHENTICATED');
      }
    });
  });

  // A suite of its own: mocha runs a suite's own tests before those of the suites in it.
  describe('afterwards', () => {
    it('changed neither ledger nor scores nor boards nor users', async () => {
      expect(await whatCounts()).to.deep.equal(untouched);
      expect(({} as { role?: string }).role).to.equal(undefined);
    });

    it('left the actions that were aimed at to their owners', async () => {
      const { attacker, victim, own, foreign } = world;
      expect((await victim.complete(world.other, foreign)).status).to.equal(200);
      expect((await attacker.complete(world.other, own)).status).to.equal(200);
    });
  });
});
