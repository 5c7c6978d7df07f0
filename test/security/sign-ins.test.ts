import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { after, before } from 'mocha';
import { administrator, administratorPassword } from '../support/administrator.ts';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';
import { raw } from './forge.ts';

const PASSWORD = 'correct horse battery';
const count = (answers: readonly Answer[], status: number): number =>
  answers.filter((answer) => answer.status === status).length;

describe('limits of signing in', function () {
  this.timeout(60_000);
  const stores = useStores();
  const env = { TRUSTED_PROXIES: '1', RATE_LIMIT_IP_PER_MINUTE: '300' };
  const system = useSystem(stores, { api: 2, workers: 0, env });
  const api = (i = 0): string => system.api[i % 2]!.url;
  let redis: Redis;
  before(() => {
    redis = new Redis(stores.redis.url);
  });
  after(() => redis.disconnect());

  const login = (username: string, password: string, ip: string, i = 0): Promise<Answer> =>
    call(api(i), 'POST', '/auth/login', { body: { username, password }, headers: { 'x-forwarded-for': ip } });
  const guess = (username: string, ip: string, times: number): Promise<Answer[]> =>
    Promise.all(Array.from({ length: times }, (_, i) => login(username, `guess ${i}`, ip, i)));
  const form = (password: string, ip: string): Promise<Answer> =>
    raw(
      api(),
      'POST',
      '/admin/sign-in',
      { 'content-type': 'application/x-www-form-urlencoded', 'x-forwarded-for': ip },
      `username=admin&password=${encodeURIComponent(password)}`,
    );

  it('let one address guess ten times at a name, and never keep its owner out elsewhere', async () => {
    const player = await Player.join(api());
    const guesses = await guess(player.username, '203.0.113.1', 15);
    expect([count(guesses, 401), count(guesses, 429)]).to.deep.equal([10, 5]);
    // From the guesser's own address the right password is refused, too; from a new one it is not.
    expect((await login(player.username, PASSWORD, '203.0.113.1')).status).to.equal(429);
    expect((await login(player.username, PASSWORD, '203.0.113.2')).status).to.equal(200);
  });

  it('never keep an administrator out, neither of the API nor of the page', async () => {
    await administrator(stores.databaseUrl, api());
    const guesses = await guess('admin', '203.0.113.3', 15);
    expect(count(guesses, 429)).to.equal(5);
    expect((await form('wrong', '203.0.113.3')).status).to.equal(429);
    expect((await login('admin', administratorPassword, '203.0.113.4')).status).to.equal(200);
    expect((await form(administratorPassword, '203.0.113.4')).status).to.equal(303);
  });

  it('let ten unknown addresses try a name; those that it has signed in from are not asked', async () => {
    const player = await Player.join(api());
    expect((await login(player.username, PASSWORD, '198.51.100.200')).status).to.equal(200);
    const guesses = await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        login(player.username.toUpperCase(), 'a guess', `198.51.100.${i}`, i),
      ),
    );
    expect([count(guesses, 401), count(guesses, 429)]).to.deep.equal([10, 20]);
    expect((await login(player.username, PASSWORD, '198.51.100.201')).status).to.equal(429);
    expect((await login(player.username, PASSWORD, '198.51.100.200')).status).to.equal(200);
    for (const key of await redis.keys('*{login*')) expect(key).not.to.match(/198\.51|player/);
  });

  it('let 30 right passwords of a name and address through a minute', async () => {
    const player = await Player.join(api());
    // One after another: those under way count as wrong ones until they are known to be right.
    for (let i = 0; i < 30; i += 1)
      expect((await login(player.username, PASSWORD, '203.0.113.5', i)).status, `time ${i + 1}`).to.equal(
        200,
      );
    expect((await login(player.username, PASSWORD, '203.0.113.5')).status).to.equal(429);
  });

  it('count what a changed password is checked against', async () => {
    const player = await Player.join(api());
    const answers = await Promise.all(
      Array.from({ length: 15 }, (_, i) =>
        call(api(i), 'POST', '/auth/password', {
          token: player.token,
          body: { current: `guess ${i}`, new: 'another fine password' },
          headers: { 'x-forwarded-for': '203.0.113.6' },
        }),
      ),
    );
    expect([count(answers, 401), count(answers, 429)]).to.deep.equal([10, 5]);
  });
});

describe('a shared address', function () {
  this.timeout(60_000);
  const stores = useStores();
  const env = { TRUSTED_PROXIES: '1', RATE_LIMIT_IP_PER_MINUTE: '40', RATE_LIMIT_BLOCK_AFTER: '5' };
  const system = useSystem(stores, { workers: 0, env });
  const api = (): string => system.api[0]!.url;
  const school = { 'x-forwarded-for': '203.0.113.77' };

  it('is not blocked for what one of its players does', async () => {
    const [loud, quiet] = [await Player.join(api()), await Player.join(api())];
    const rename = (): Promise<Answer> =>
      call(api(), 'PATCH', '/users/me', {
        token: loud.token,
        body: { allowSpectators: true },
        headers: school,
      });
    const answers = await Promise.all(Array.from({ length: 30 }, rename));
    // A fifth of what the address may write, and then the player is blocked.
    expect(count(answers, 200)).to.equal(8);
    const start = (token: string): Promise<Answer> =>
      call(api(), 'POST', '/actions', { token, body: { type: 'COMPLETE_TASK' }, headers: school });
    expect((await start(quiet.token)).status).to.equal(201);
    expect((await start(loud.token)).status).to.equal(201);
  });

  it('that is blocked for what nobody answers for still lets its players play', async () => {
    const player = await Player.join(api());
    const headers = { 'x-forwarded-for': '203.0.113.78' };
    const flood = await Promise.all(
      Array.from({ length: 60 }, () =>
        call(api(), 'POST', '/auth/logout', { body: { refreshToken: randomUUID() }, headers }),
      ),
    );
    expect(count(flood, 204)).to.equal(40);
    const blocked = await call(api(), 'POST', '/auth/logout', { body: { refreshToken: 'x' }, headers });
    expect([blocked.status, blocked.body.detail]).to.deep.equal([429, blocked.body.detail]);
    expect(blocked.body.detail).to.include('blocked');
    const start = await call(api(), 'POST', '/actions', {
      token: player.token,
      body: { type: 'COMPLETE_TASK' },
      headers,
    });
    // Limited with the address for the rest of its minute, and not blocked.
    expect(start.status).to.equal(429);
    expect(start.body.detail).to.include('The limit is 40');
  });
});
