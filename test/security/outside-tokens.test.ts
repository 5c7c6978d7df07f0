import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Writable } from 'node:stream';
import { createServer } from 'node:http';
import { expect } from 'chai';
import { after, afterEach, before } from 'mocha';
import { createApi } from '../../api/create-api.ts';
import { loadConfig } from '../../common/config.ts';
import { closeServer, listen } from '../../common/health.ts';
import { createLogger } from '../../common/logger.ts';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { Listener } from '../live/viewers.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { environmentOf, startTier, useSystem } from '../support/system.ts';
import { accessToken, assemble, ACCESS_SECRET, IdentityService } from './forge.ts';

type Claims = Record<string, unknown>;

/** Payloads as these services issue them (shortened), and whether their `sub` may be a public id. */
const services: [service: string, isPublicId: boolean, claims: Claims][] = [
  [
    'Supabase',
    true,
    {
      sub: '3f0c2a6e-7d1b-4f7e-9c2a-5b8e4d1f0a11',
      role: 'authenticated',
      aud: 'authenticated',
      iss: 'https://abcdefgh.supabase.co/auth/v1',
      email: 'jane@example.org',
      app_metadata: { provider: 'email', providers: ['email'] },
      user_metadata: {},
      session_id: randomUUID(),
      is_anonymous: false,
      aal: 'aal1',
      amr: [{ method: 'password', timestamp: 1 }],
    },
  ],
  [
    'Auth0',
    true,
    {
      sub: 'auth0|507f1f77bcf86cd799439020',
      aud: ['https://game.example/api', 'https://tenant.eu.auth0.com/userinfo'],
      azp: 'client',
      scope: 'openid profile',
      permissions: ['play:game'],
    },
  ],
  [
    'Firebase',
    true,
    {
      sub: 'a1B2c3D4e5F6g7H8i9J0k1L2m3N4',
      user_id: 'a1B2c3D4e5F6g7H8i9J0k1L2m3N4',
      firebase: { identities: {}, sign_in_provider: 'anonymous' },
    },
  ],
  [
    'Entra',
    false,
    { sub: '_AAAAALzFbv8vLAs1i0sQ0ZXXwgKUJ0Wg8dNYbKqzNsk', oid: randomUUID(), roles: ['Player'], ver: '2.0' },
  ],
  ['Entra, too', false, { sub: '-Bq0fxLzFbv8vLAs1i0sQ0ZXXwgKUJ0Wg8dNYbKqzNsk', scp: 'play', username: null }],
  ['Steam', false, { sub: 'https://steamcommunity.com/openid/id/76561197960287930', username: 42 }],
  [
    'Clerk',
    true,
    {
      sub: 'user_2NNEqL2nrIRdJ194ndJqAHwEfxC',
      sid: 'sess_2NNE',
      azp: 'https://game.example',
      fva: [0, -1],
      role: null,
    },
  ],
  [
    'Keycloak',
    true,
    {
      sub: randomUUID(),
      sid: randomUUID(),
      typ: 'Bearer',
      preferred_username: 'jane',
      realm_access: { roles: ['offline_access', 'uma_authorization'] },
      resource_access: { account: { roles: ['manage-account'] } },
    },
  ],
  [
    'Cognito',
    true,
    { sub: randomUUID(), token_use: 'access', 'cognito:groups': ['players'], username: 'x'.repeat(300) },
  ],
  [
    'Apple',
    true,
    {
      sub: '001234.0123456789abcdef0123456789abcdef.0123',
      email: 'x@privaterelay.appleid.com',
      is_private_email: 'true',
    },
  ],
  ['Google', true, { sub: '110169484474386276334', azp: 'client', email_verified: true, role: ['player'] }],
  ['Active Directory', false, { sub: 'ad|DOMAIN\\user', role: 'user' }],
  ['a directory of addresses', false, { sub: 'alice.x@example.com' }],
  ['one that knows the API', false, { sub: 'me' }],
  ['GUIDs in braces', false, { sub: '{6F9619FF-8B86-D011-B42D-00CF4FC964FF}' }],
  ['names with spaces', false, { sub: 'Jane of the Woods' }],
  ['a patient one', false, { sub: 'x'.repeat(255) }],
  ['a patient one, in letters of two units', false, { sub: '𝒳'.repeat(255) }],
];

/** What tokens hold besides, by the section of docs/identity.md that tells how to take them; and whether they name their player. */
const recipes: Record<string, { claims: Claims; named?: string; shared?: true }> = {
  Auth0: {
    claims: {
      sub: 'auth0|507f1f77bcf86cd799439011',
      aud: ['https://game.example/api', 'https://TENANT.eu.auth0.com/userinfo'],
      azp: 'client',
      scope: 'openid profile',
      'https://game.example/username': 'of-auth0',
    },
    named: 'of-auth0',
  },
  Firebase: {
    claims: {
      sub: 'f1B2c3D4e5F6g7H8i9J0k1L2m3N4',
      user_id: 'f1B2c3D4e5F6g7H8i9J0k1L2m3N4',
      name: 'Jane Doe',
      picture: 'https://lh3.googleusercontent.com/a/x',
      nickname: 'of-firebase',
      firebase: { identities: {}, sign_in_provider: 'google.com' },
    },
    named: 'of-firebase',
  },
  Supabase: {
    claims: {
      sub: '3f0c2a6e-7d1b-4f7e-9c2a-5b8e4d1f0a12',
      role: 'authenticated',
      email: 'jane@example.org',
      app_metadata: { provider: 'email' },
      user_metadata: { username: 'of-supabase' },
      is_anonymous: false,
    },
    named: 'of-supabase',
  },
  'Entra ID': {
    claims: {
      sub: 'AAAAALzFbv8vLAs1i0sQ0ZXXwgKUJ0Wg8dNYbKqzNsk',
      oid: randomUUID(),
      preferred_username: 'jane@example.org',
      scp: 'play',
      ver: '2.0',
    },
  },
  Cognito: {
    claims: { sub: randomUUID(), token_use: 'access', client_id: 'client', username: 'of-cognito' },
    named: 'of-cognito',
  },
  Clerk: {
    claims: { sub: 'user_2NNEqL2nrIRdJ194ndJqAHwEfxD', azp: 'https://game.example', username: 'of-clerk' },
    named: 'of-clerk',
  },
  Steam: { claims: { sub: '76561197960287931', username: 'of-steam' }, named: 'of-steam', shared: true },
};

describe('tokens of outside identity services', function () {
  this.timeout(60_000);
  const stores = useStores();
  const service = new IdentityService();
  before(async () => {
    service.addKey('rsa');
    service.addKey('rsa2');
    service.addKey('ec', 'ec');
    service.addKey('ec2', 'ec');
    service.addKey('ed', 'ed25519');
    await service.start();
  });
  after(() => service.stop());
  const system = useSystem(stores, {
    workers: 1,
    realtime: 1,
    env: {
      USER_PROVISIONING: 'auto',
      get JWT_JWKS_URL() {
        return service.url;
      },
    },
  });
  const api = (): string => system.api[0]!.url;
  const me = (token: string, url = api()): Promise<Answer> => call(url, 'GET', '/users/me', { token });
  const outcome = ({ status, body }: Answer): string => `${status} ${body?.code ?? ''}`.trim();
  const now = (): number => Math.floor(Date.now() / 1000);
  let db: Database;
  before(() => {
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
  });
  after(() => db.destroy());
  const opened: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const close of opened.splice(0)) await close();
  });
  const instance = async (env: Record<string, string>): Promise<string> => {
    const tier = await startTier('api', stores, {
      USER_PROVISIONING: 'auto',
      JWT_JWKS_URL: service.url,
      ...env,
    });
    opened.push(() => tier.stop());
    return tier.url;
  };

  const signers: [string, (claims: Claims) => string][] = [
    ['HS256', (claims) => accessToken(claims)],
    ['RS256', (claims) => service.sign('rsa', claims)],
    ['ES256', (claims) => service.sign('ec', claims)],
    ['EdDSA', (claims) => service.signEdDsa('ed', claims)],
  ];
  services.forEach(([name, isPublicId, claims], i) => {
    const [algorithm, sign] = signers[i % signers.length]!;
    it(`are taken as ${name} makes them (${algorithm})`, async () => {
      const sub = String(claims['sub']);
      const answers = await Promise.all([
        me(sign(claims)),
        me(sign(claims)),
        me(sign({ ...claims, jti: 'another' })),
      ]);
      expect(answers.map(outcome)).to.deep.equal(['200', '200', '200']);
      const ids = new Set(answers.map(({ body }) => body.userId as string));
      expect(ids.size).to.equal(1);
      const userId = answers[0]!.body.userId as string;
      expect(answers[0]!.body.role).to.equal('player');
      if (isPublicId) expect(userId).to.equal(sub);
      else expect(userId).to.match(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
      const token = sign(claims);
      expect(
        (await call(api(), 'POST', '/actions', { token, body: { type: 'COMPLETE_TASK' } })).status,
      ).to.equal(201);
      expect((await call(api(), 'GET', `/users/${userId}`)).status).to.equal(200);
      const listener = new Listener(system.realtime[0]!.url, token);
      try {
        expect((await listener.handshake).code).to.equal('connected');
      } finally {
        listener.socket.disconnect();
      }
    });
  });

  it('are taken with the settings that docs/identity.md names, and no others', async () => {
    const page = await readFile(new URL('../../docs/identity.md', import.meta.url), 'utf8');
    const sections = page.split(/^## /m).flatMap((section): [string, Record<string, string>][] => {
      const [, block] = /```sh\n([^]*?)```/.exec(section) ?? [];
      if (block === undefined) return [];
      const settings = [...block.matchAll(/^(\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]);
      return [[section.split('\n', 1)[0]!, Object.fromEntries(settings)]];
    });
    expect(sections.map(([name]) => name)).to.deep.equal(Object.keys(recipes));
    for (const [name, settings] of sections) {
      const { claims, named, shared } = recipes[name]!;
      // Production would refuse what is no address, or keys without an issuer or audience.
      const { JWT_JWKS_URL: keys, JWT_ISSUER: iss, JWT_AUDIENCE: aud } = settings;
      loadConfig({ ...environmentOf(stores, settings), NODE_ENV: 'production', JWT_SECRETS: randomUUID() });
      expect(keys === undefined, name).to.equal(shared === true);
      const url = await instance({ ...settings, ...(keys !== undefined && { JWT_JWKS_URL: service.url }) });
      const whole: Claims = { iss, ...(aud !== undefined && { aud }), ...claims };
      const secret = settings['JWT_SECRETS']?.split(',')[1];
      const sign = (of: Claims): string =>
        secret === undefined
          ? service.sign('rsa', of)
          : assemble({ alg: 'HS256' }, { iat: now(), exp: now() + 600, ...of }, secret);
      const { status, body } = await me(sign(whole), url);
      expect(status, `${name}: ${JSON.stringify(body)}`).to.equal(200);
      expect(body.userId, name).to.equal(claims['sub']);
      expect(body.role, name).to.equal('player');
      if (named === undefined) expect(body.username, name).to.match(/^player-/);
      else expect(body.username, name).to.equal(named);
      for (const foreign of [
        { iss: 'https://elsewhere.example' },
        ...(aud === undefined ? [] : [{ aud: 'others' }]),
      ])
        expect(outcome(await me(sign({ ...whole, ...foreign }), url)), name).to.equal('401 UNAUTHENTICATED');
    }
  });

  it('are found among several keys where they name none', async () => {
    for (const kid of ['rsa', 'rsa2', 'ec', 'ec2']) {
      const token = service.signNameless(kid, { sub: 'keyless' });
      expect(outcome(await me(token)), kid).to.equal('200');
    }
    const rogue = new IdentityService();
    rogue.addKey('rsa');
    expect(outcome(await me(rogue.signNameless('rsa', { sub: 'keyless' })))).to.equal('401 UNAUTHENTICATED');
  });

  it('may come from a clock that is a little ahead or behind, by every key', async () => {
    for (const [algorithm, sign] of signers) {
      const token = (claims: Claims): string => sign({ sub: 'hasty', ...claims });
      expect(outcome(await me(token({ nbf: now() + 2, iat: now() + 2 }))), algorithm).to.equal('200');
      expect(outcome(await me(token({ exp: now() - 2, iat: now() - 60 }))), algorithm).to.equal('200');
      expect(outcome(await me(token({ nbf: now() + 30 }))), algorithm).to.equal('401 UNAUTHENTICATED');
      expect(outcome(await me(token({ exp: now() - 8, iat: now() - 60 }))), algorithm).to.equal(
        '401 TOKEN_EXPIRED',
      );
    }
  });

  it('live a day at most, whatever they say', async () => {
    const year = 365 * 86_400;
    expect(outcome(await me(accessToken({ sub: 'patient', exp: now() + year })))).to.equal('200');
    expect(
      outcome(await me(accessToken({ sub: 'patient', iat: now() - 86_410, exp: now() + year }))),
    ).to.equal('401 TOKEN_EXPIRED');
    const without = (exp: number): string =>
      assemble({ alg: 'HS256' }, { sub: 'patient', exp }, ACCESS_SECRET);
    expect(outcome(await me(without(now() + 3600)))).to.equal('200');
    expect(outcome(await me(without(now() + year)))).to.equal('401 UNAUTHENTICATED');
  });

  it('make nobody an administrator, unless the operator says so', async () => {
    const features = (token: string, url: string): Promise<Answer> =>
      call(url, 'GET', '/admin/features', { token });
    const claims = {
      sub: 'chief',
      role: 'admin',
      realm_access: { roles: ['x', 'admin'] },
      'https://game.example/role': 'admin',
    };
    expect(outcome(await features(accessToken(claims), api()))).to.equal('403 FORBIDDEN');
    const trusting = await instance({ JWT_TRUST_ADMIN_ROLE: 'true' });
    expect(outcome(await features(accessToken(claims), trusting))).to.equal('200');
    for (const role of [['admin'], 'administrator', null, 1, { admin: true }])
      expect(outcome(await features(accessToken({ ...claims, role }), trusting))).to.equal('403 FORBIDDEN');
    for (const JWT_ROLE_CLAIM of ['realm_access.roles', 'https://game.example/role']) {
      const url = await instance({ JWT_TRUST_ADMIN_ROLE: 'true', JWT_ROLE_CLAIM });
      expect(outcome(await features(accessToken({ ...claims, role: 'player' }), url))).to.equal('200');
      expect(outcome(await features(accessToken({ sub: 'chief', role: 'admin' }), url))).to.equal(
        '403 FORBIDDEN',
      );
    }
  });

  it('name their user by the claim that the operator names, where the name can be used', async () => {
    const url = await instance({ JWT_USERNAME_CLAIM: 'preferred_username' });
    const named = async (sub: string, preferred_username: unknown): Promise<string> =>
      (await me(accessToken({ sub, preferred_username }), url)).body.username;
    expect(await named('named|1', 'Ада Лавлейс')).to.equal('Ада Лавлейс');
    for (const [i, unusable] of ['Admin', '<b>', null, 42, 'x'.repeat(300), 'ада лавлейс'].entries())
      expect(await named(`named|2|${i}`, unusable)).to.match(/^player-/);
  });

  it('say to the security log which claim was refused and why, and no value', async () => {
    const lines: string[] = [];
    const stream = new Writable({
      write(chunk, _encoding, done) {
        lines.push(String(chunk));
        done();
      },
    });
    const env = {
      JWT_ISSUER: 'https://id.example',
      JWT_AUDIENCE: 'laurel',
      JWT_JWKS_URL: service.url,
      TRUSTED_PROXIES: '1',
    };
    const app = await createApi(loadConfig(environmentOf(stores, env)), createLogger('api', 'warn', stream));
    const server = createServer(app.handle);
    const url = `http://127.0.0.1:${await listen(server, 0, '127.0.0.1', 'PORT')}`;
    try {
      const right = { iss: env.JWT_ISSUER, aud: env.JWT_AUDIENCE, sub: 'secretive' };
      const withoutIssuer = { ...right, iss: undefined };
      const refused: [reason: string, token: string][] = [
        ['nbf: ahead', accessToken({ ...right, nbf: now() + 60 })],
        ['iss: not JWT_ISSUER', accessToken({ ...right, iss: 'https://secretive.example' })],
        ['iss: not JWT_ISSUER', accessToken(withoutIssuer)],
        ['aud: not JWT_AUDIENCE', accessToken({ ...right, aud: 'secretive' })],
        ['iss or aud: not the configured one', service.signEdDsa('ed', { ...right, aud: 'secretive' })],
        ['iss or aud: not the configured one', service.signEdDsa('ed', withoutIssuer)],
        ['sub: missing, or not text', accessToken({ ...right, sub: '' })],
        ['sub: longer than 255 characters', accessToken({ ...right, sub: 'secretive'.repeat(40) })],
        ['signature: of no known key', assemble({ alg: 'HS256' }, right, 'another')],
        ['alg: not accepted', assemble({ alg: 'none' }, right)],
        ['kid: no key of this name and algorithm', service.sign('rsa', right, { keyid: 'secretive' })],
        ['token: not a JWT', 'secretive'],
      ];
      // Each from an address of its own: of one address a few lines a minute are written.
      for (const [i, [, token]] of refused.entries()) {
        const headers = { 'x-forwarded-for': `203.0.113.${i}` };
        expect(outcome(await call(url, 'GET', '/users/me', { token, headers }))).to.equal(
          '401 UNAUTHENTICATED',
        );
      }
      const reasons = lines
        .map((line) => JSON.parse(line))
        .filter(({ event }) => event === 'access_token_refused');
      expect(reasons.map(({ reason }) => reason)).to.deep.equal(refused.map(([reason]) => reason));
      expect(lines.join('')).not.to.include('secretive');
    } finally {
      await app.close();
      await closeServer(server, 100);
    }
  });

  it('are what every tier that verifies them warns of, when they cannot be or have no account', async () => {
    const gone = 'http://127.0.0.1:9/keys';
    const token = service.sign('rsa', { sub: 'turned away' });
    for (const tier of ['api', 'realtime'] as const) {
      const { url, stop } = await startTier(tier, stores, { JWT_JWKS_URL: gone });
      opened.push(stop);
      if (tier === 'api') expect(outcome(await me(token, url))).to.equal('503 UNAVAILABLE');
      else {
        const listener = new Listener(url, token);
        expect((await listener.handshake).code).to.equal('UNAVAILABLE');
        listener.socket.disconnect();
      }
      const { status, body } = await call(url, 'GET', '//readyz');
      expect(status, tier).to.equal(200);
      expect(body.warnings?.join(' '), tier)
        .to.include(`the keys at JWT_JWKS_URL (${gone}) cannot be read`)
        .and.include('USER_PROVISIONING is off');
    }
  });

  it('of 12,000 characters are taken on HTTP and sockets alike', async () => {
    const token = accessToken({ sub: 'verbose', groups: 'x'.repeat(8800) });
    expect(token.length).to.be.above(11_000);
    expect(outcome(await me(token))).to.equal('200');
    const listener = new Listener(system.realtime[0]!.url, token);
    try {
      expect((await listener.handshake).code).to.equal('connected');
    } finally {
      listener.socket.disconnect();
    }
  });

  for (const sub of ['returning|1', 'returning@example.com'])
    it(`of an erased user stay refused; the same sub (${sub}) can come back, as another user`, async () => {
      const before = accessToken({ sub, iat: now() - 30 });
      const first = (await me(before)).body.userId as string;
      expect((await call(api(), 'DELETE', '/users/me', { token: before })).status).to.equal(204);
      const { rows } = await db.raw<{ rows: { everything: string }[] }>(
        `select (select jsonb_agg(u) from users u)::text || (select jsonb_agg(e) from erased_subjects e)::text as everything`,
      );
      if (sub.includes('@')) expect(rows[0]!.everything).not.to.include(sub);
      await eventually(async () => expect(outcome(await me(before))).to.equal('401 UNAUTHENTICATED'));
      expect(outcome(await me(accessToken({ sub, iat: now() - 1 })))).to.equal('401 UNAUTHENTICATED');
      const listener = new Listener(system.realtime[0]!.url, before);
      expect((await listener.handshake).code).to.equal('UNAUTHENTICATED');
      listener.socket.disconnect();
      const answers = await Promise.all(
        Array.from({ length: 5 }, () => me(accessToken({ sub, iat: now() + 2, exp: now() + 600 }))),
      );
      expect(answers.map(outcome)).to.deep.equal(Array(5).fill('200'));
      const second = new Set(answers.map(({ body }) => body.userId as string));
      expect([...second])
        .to.have.length(1)
        .and.not.to.include(first);
      expect(outcome(await me(before))).to.equal('401 UNAUTHENTICATED');
    });

  it('with the sub of an account of ours speak for that account, and make no second one', async () => {
    const player = await Player.join(api());
    expect((await me(accessToken({ sub: player.userId }))).body.userId).to.equal(player.userId);
  });
});
