import { expect } from 'chai';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

describe('names and passwords of people', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores, { workers: 0, env: { ADMIN_USERNAME: 'Chief' } });
  const api = (): string => system.api[0]!.url;
  const password = 'correct horse battery';
  let made = 0;
  const register = (username: string, change: object = {}): Promise<Answer> =>
    call(api(), 'POST', '/auth/register', {
      body: { username, email: `person${(made += 1)}@example.org`, password, ...change },
    });
  const login = (username: string, typed = password): Promise<Answer> =>
    call(api(), 'POST', '/auth/login', { body: { username, password: typed } });

  for (const name of ['小明', '민수', 'น้ำใจ4723', "O'Brien", 'می\u200Cخواهم', 'Ｚｏｅ'])
    it(`are shown as typed: ${name}`, async () => {
      const registered = await register(name);
      expect(registered.status).to.equal(201);
      expect(registered.body.user.username).to.equal(name);
      const again = await login(name);
      expect(again.body.user.username).to.equal(name);
      expect((await call(api(), 'GET', `/users/${again.body.user.userId}`)).body.username).to.equal(name);
      expect((await register(name)).body.code).to.equal('USERNAME_TAKEN');
    });

  it('are two people: ırmak and irmak', async () => {
    const users = await Promise.all(['ırmak', 'irmak'].map((name) => register(name)));
    expect(users.map(({ status }) => status)).to.deep.equal([201, 201]);
    for (const { body } of users) {
      const signedIn = await login(body.user.username);
      expect(signedIn.body.user.userId).to.equal(body.user.userId);
    }
  });

  it('sign in with the password in any form that a keyboard writes', async () => {
    await register('zora', { password: 'pa\u0308sswort ﬁx' });
    for (const typed of ['pa\u0308sswort ﬁx', 'p\u00E4sswort ﬁx', 'p\u00E4sswort fix'])
      expect((await login('zora', typed)).status, typed).to.equal(200);
  });

  it('are not those of the people who run the service, neither at first nor by a change', async () => {
    const player = await Player.join(api());
    for (const name of ['admin', 'Administrator', 'm.o.d', 'Supp0rt', '\u0430dmin', 'chief', 'LAUREL']) {
      expect((await register(name)).body.code, name).to.equal('USERNAME_TAKEN');
      const renamed = await call(api(), 'PATCH', '/users/me', {
        token: player.token,
        body: { username: name },
      });
      expect([renamed.status, renamed.body.code], name).to.deep.equal([409, 'USERNAME_TAKEN']);
    }
  });

  it('tell each fault of a registration apart', async () => {
    const { status, body } = await register('Ada', { email: 'no address', password: 'short' });
    expect(status).to.equal(400);
    expect(body.errors.map((fault: { path: string }) => fault.path).sort()).to.deep.equal([
      'email',
      'password',
    ]);
    expect(body.detail).to.include('; ');
  });
});
