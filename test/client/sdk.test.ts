import { getEventListeners, once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { expect } from 'chai';
import { after, before } from 'mocha';
import { LaurelClient, LaurelError, type StorageLike } from '../../client/index.ts';
import { administrator } from '../support/administrator.ts';
import { eventually } from '../support/eventually.ts';
import { holdLine } from '../support/hold.ts';
import { call, Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { startTier, useSystem, type RunningTier } from '../support/system.ts';
import { accessToken } from '../security/forge.ts';

/** The platform's fetch, and what it was asked and answered: `POST /auth/login 200`. */
function recorder() {
  const seen: string[] = [];
  const record: typeof fetch = async (input, init) => {
    const what = `${init?.method ?? 'GET'} ${new URL(input as string).pathname.replace('/api/v1', '')}`;
    const response = await fetch(input, init).catch((error: unknown) => {
      seen.push(`${what} failed`);
      throw error;
    });
    seen.push(`${what} ${response.status}`);
    return response;
  };
  return { seen, fetch: record, count: (pattern: RegExp) => seen.filter((one) => pattern.test(one)).length };
}

function storageWith(session: Record<string, unknown>): StorageLike & { kept: Map<string, string> } {
  const kept = new Map([['laurel.session', JSON.stringify(session)]]);
  return {
    kept,
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
    removeItem: (key) => void kept.delete(key),
  };
}

/** What the SDK keeps of a player's login; the local clock says how long the access token is good. */
const sessionOf = (player: Player, token: string, expiresInMs: number) => ({
  accessToken: token,
  expiresAt: Date.now() + expiresInMs,
  refreshToken: player.refreshToken,
  signingKey: player.signingKey,
  user: { userId: player.userId, username: player.username },
});

const HOUR = 3_600_000;

describe('the SDK on a running service', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores);
  const api = (): string => system.api[0]!.url;
  /** answers every completion 202 */
  let hasty: RunningTier;
  const clients: LaurelClient[] = [];
  const client = (options: Partial<ConstructorParameters<typeof LaurelClient>[0]> = {}): LaurelClient => {
    const made = new LaurelClient({ baseUrl: api(), ...options });
    clients.push(made);
    return made;
  };
  const failure = (promise: Promise<unknown>): Promise<LaurelError> =>
    promise.then(
      () => expect.fail('it succeeded'),
      (error: unknown) => (error instanceof LaurelError ? error : Promise.reject(error as Error)),
    );

  before(async () => {
    hasty = await startTier('api', stores, { COMPLETE_WAIT_MS: '0' });
  });
  after(() => hasty.stop());
  afterEach(() => {
    for (const one of clients.splice(0)) one.close();
  });
  const signedIn = async (options: Parameters<typeof client>[0] = {}) => {
    const player = await Player.join(api());
    const laurel = client(options);
    await laurel.login({ username: player.username, password: 'correct horse battery' });
    return { player, laurel };
  };

  describe('completes', () => {
    it('an action once, and returns the first result to every later call, another client’s too', async () => {
      const { laurel, player } = await signedIn();
      const action = await laurel.start('COMPLETE_QUEST');
      const first = await laurel.complete(action);
      expect(first).to.deep.include({ status: 'completed', score: { previous: 0, current: 50, delta: 50 } });
      expect(await laurel.complete(action)).to.deep.equal(first);
      const other = client();
      await other.login({ username: player.username, password: 'correct horse battery' });
      expect(await other.complete(action)).to.deep.equal(first);
      expect((await laurel.standing('global', 'me')).score).to.equal(50);
    });

    it('to the end: a queued completion is waited for, and never returned as the result', async () => {
      const { seen, fetch } = recorder();
      const { laurel, player } = await signedIn({ fetch, baseUrl: hasty.url });
      // Nobody can apply it before it has been promised.
      const letGo = await holdLine(stores.databaseUrl, player.userId);
      const playing = laurel.play('COMPLETE_MISSION');
      await eventually(() => expect(seen.at(-1)).to.match(/complete 202$/));
      await letGo();
      const result = await playing;
      expect(result).to.include({ status: 'completed' });
      expect(result.score.current).to.equal(100);
      expect(seen.filter((one) => /complete 202$/.test(one))).to.have.length(1);
    });

    it('with a signature that covers the leaderboard', async () => {
      const operator = await administrator(stores.databaseUrl, api());
      await call(api(), 'PATCH', '/admin/action-types/COMPLETE_TASK', {
        token: operator.token,
        body: { clientSigned: true },
      });
      const { laurel } = await signedIn();
      const result = await laurel.completeSigned('COMPLETE_TASK', { leaderboard: 'game1' });
      expect(result).to.deep.include({
        leaderboard: 'game1',
        score: { previous: 0, current: 10, delta: 10 },
      });
      expect((await laurel.standing('game1', 'me')).score).to.equal(10);
      expect((await laurel.standing('game2', 'me')).score).to.equal(0);
    });
  });

  describe('keeps the session', () => {
    it('by one refresh for all requests that find the token about to expire', async () => {
      const player = await Player.join(api());
      const { count, fetch } = recorder();
      const storage = storageWith(sessionOf(player, player.token, -1));
      const laurel = client({ fetch, storage });
      const answers = await Promise.all(Array.from({ length: 10 }, () => laurel.me()));
      expect(answers.map(({ userId }) => userId)).to.deep.equal(Array(10).fill(player.userId));
      expect(count(/^POST \/auth\/refresh 200$/)).to.equal(1);
      expect(count(/ 401$/)).to.equal(0);
      expect(storage.kept.get('laurel.session')).not.to.include(player.refreshToken);
    });

    it('by one refresh, and each request once more, where the service finds the token expired', async () => {
      const player = await Player.join(api());
      const { count, seen, fetch } = recorder();
      const old = accessToken({ sub: player.userId }, { expiresIn: -60 });
      const laurel = client({ fetch, storage: storageWith(sessionOf(player, old, HOUR)) });
      const action = await laurel.start('COMPLETE_TASK');
      expect(seen).to.deep.equal(['POST /actions 401', 'POST /auth/refresh 200', 'POST /actions 201']);
      expect((await laurel.complete(action)).score.current).to.equal(10);

      const again = await Player.join(api());
      const expired = accessToken({ sub: again.userId }, { expiresIn: -60 });
      seen.length = 0;
      const many = client({ fetch, storage: storageWith(sessionOf(again, expired, HOUR)) });
      await Promise.all(Array.from({ length: 5 }, () => many.me()));
      expect(count(/^POST \/auth\/refresh/)).to.equal(1);
      expect(count(/^GET \/users\/me 200$/)).to.equal(5);
    });

    it('until the service refuses both tokens; listeners hear that it has ended', async () => {
      const player = await Player.join(api());
      await call(api(), 'POST', '/auth/logout', { body: { refreshToken: player.refreshToken } });
      const storage = storageWith(sessionOf(player, `${player.token}x`, HOUR));
      const laurel = client({ storage });
      const events: unknown[] = [];
      laurel.onSession((event) => events.push(event));
      expect(await failure(laurel.me())).to.include({ status: 401, code: 'UNAUTHENTICATED' });
      expect(events).to.deep.equal([{ type: 'signed-out', reason: 'expired' }]);
      expect([laurel.user, storage.kept.size]).to.deep.equal([null, 0]);
    });

    it('of two clients on one storage that refresh at the same moment', async () => {
      const player = await Player.join(api());
      const storage = storageWith(sessionOf(player, player.token, -1));
      const tabs = [client({ storage }), client({ storage })];
      const users = await Promise.all(tabs.map((tab) => tab.me()));
      expect(users.map(({ userId }) => userId)).to.deep.equal([player.userId, player.userId]);
      for (const tab of tabs) expect((await tab.play('COMPLETE_TASK')).status).to.equal('completed');
      expect(tabs.map(({ user }) => user?.userId)).to.deep.equal([player.userId, player.userId]);
    });
  });

  describe('looks after logins', () => {
    it('changes the password and goes on, while the others end', async () => {
      const { player, laurel } = await signedIn();
      const other = client();
      await other.login({ username: player.username, password: 'correct horse battery' });
      expect((await laurel.logins()).filter(({ current }) => current)).to.have.length(1);
      await laurel.changePassword({ current: 'correct horse battery', new: 'a longer one still' });
      expect(await laurel.play('COMPLETE_TASK')).to.include({ status: 'completed' });
      expect((await failure(other.me())).code).to.equal('UNAUTHENTICATED');
      expect((await laurel.logins()).map(({ current }) => current)).to.deep.equal([true]);
    });

    it('ends them one by one, and all but its own', async () => {
      const { player, laurel } = await signedIn();
      for (let i = 0; i < 3; i += 1)
        await client().login({ username: player.username, password: 'correct horse battery' });
      const last = (await laurel.logins()).find(({ current }) => !current)!;
      await laurel.endLogin(last.id);
      expect((await laurel.logins()).map(({ id }) => id)).not.to.include(last.id);
      expect((await failure(laurel.endLogin(last.id))).code).to.equal('NOT_FOUND');
      await laurel.endOtherLogins();
      expect((await laurel.logins()).map(({ current }) => current)).to.deep.equal([true]);
      expect((await laurel.me()).userId).to.equal(player.userId);
    });

    it('takes a reset token, and erases with the password', async () => {
      const operator = await administrator(stores.databaseUrl, api());
      const { player, laurel } = await signedIn();
      const path = `/admin/users/${player.userId}/password-reset`;
      const issued = await call(api(), 'POST', path, { token: operator.token });
      await laurel.resetPassword({ token: issued.body.token, password: 'chosen a second time' });
      expect((await failure(laurel.me())).code).to.equal('UNAUTHENTICATED');
      await laurel.login({ username: player.username, password: 'chosen a second time' });
      expect((await failure(laurel.deleteMe({ password: 'not this one' }))).code).to.equal('BAD_CREDENTIALS');
      await laurel.deleteMe({ password: 'chosen a second time' });
      expect(laurel.user).to.equal(null);
    });
  });

  describe('tries again', () => {
    /** In front of the API: drops the first connections, or loses the answers to the first requests. */
    async function faulty(drop: { connections?: number; answers?: number }) {
      let { connections = 0, answers = 0 } = drop;
      let forwarded = 0;
      const server = createServer((socket) => {
        socket.on('error', () => undefined);
        if (connections-- > 0) return void socket.destroy();
        const target = connect(Number(new URL(api()).port), '127.0.0.1');
        target.on('error', () => socket.destroy());
        socket.on('data', (data) => {
          forwarded += 1;
          target.write(data);
        });
        target.on('data', (data) => {
          if (answers-- > 0) socket.destroy();
          else socket.write(data);
        });
        socket.on('close', () => target.end());
        target.on('close', () => socket.end());
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      return { url, forwarded: () => forwarded, close: () => void server.close() };
    }

    it('a read whose connection was lost', async () => {
      const proxy = await faulty({ connections: 1 });
      const { seen, fetch } = recorder();
      const board = await client({ baseUrl: proxy.url, fetch }).leaderboard('global');
      proxy.close();
      expect(board.leaderboard).to.equal('global');
      expect(seen).to.deep.equal(['GET /leaderboards/global failed', 'GET /leaderboards/global 200']);
    });

    it('no registration: a lost answer may have made the account', async () => {
      const proxy = await faulty({ connections: 1 });
      const { seen, fetch } = recorder();
      const input = { username: 'once', email: 'once@example.org', password: 'correct horse battery' };
      const error = await failure(client({ baseUrl: proxy.url, fetch }).register(input));
      proxy.close();
      expect(error).to.include({ status: 0, code: 'NETWORK_ERROR' });
      expect(error.detail).to.include(`${proxy.url}/api/v1/auth/register could not be reached`);
      expect(seen).to.deep.equal(['POST /auth/register failed']);
    });

    it('a completion whose answer was lost, and counts it once', async () => {
      const player = await Player.join(api());
      const { body: action } = await player.start(api(), 'COMPLETE_MISSION');
      const proxy = await faulty({ answers: 1 });
      const { seen, fetch } = recorder();
      const laurel = client({ baseUrl: proxy.url, fetch, getToken: () => player.token });
      const result = await laurel.complete(action);
      proxy.close();
      expect(result.score).to.deep.equal({ previous: 0, current: 100, delta: 100 });
      expect(seen[0]).to.match(/complete failed$/);
      expect(seen.length).to.be.above(1);
      expect((await client().standing('global', player.userId)).score).to.equal(100);
    });
  });

  it('leaves nothing on a signal that a game uses for all of its requests', async () => {
    const { token } = await Player.join(api());
    const at = (baseUrl: string): LaurelClient => client({ baseUrl, getToken: () => token });
    const { signal } = new AbortController();
    await at(api()).play('COMPLETE_TASK', { signal });
    await at(hasty.url).play('COMPLETE_TASK', { signal });
    await failure(at(api()).start('NO_SUCH_TYPE', { signal }));
    await failure(at('http://127.0.0.1:1').start('COMPLETE_TASK', { signal }));
    expect(getEventListeners(signal, 'abort')).to.deep.equal([]);
  });

  it('refuses an address that is none, and says what it needs', () => {
    for (const options of [
      {},
      { baseUrl: '' },
      { baseUrl: 'play.example.com' },
      { baseUrl: '/api' },
      { baseUrl: 5 },
    ])
      expect(() => new LaurelClient(options as { baseUrl: string }), JSON.stringify(options)).to.throw(
        TypeError,
        /new LaurelClient\(\{ baseUrl \}\) needs an address such as https:/,
      );
    expect(() => client({ realtimeUrl: 'x' })).to.throw(TypeError, /realtimeUrl/);
    expect(() => client({ baseUrl: `${api()}/` })).not.to.throw();
  });
});

describe('the SDK while nobody counts', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores, { workers: 0, env: { COMPLETE_WAIT_MS: '50' } });

  it('gives up a queued completion with an error that says where to ask', async () => {
    const api = system.api[0]!.url;
    const player = await Player.join(api);
    const laurel = new LaurelClient({ baseUrl: api, getToken: () => player.token });
    const action = await laurel.start('COMPLETE_TASK');
    const error: unknown = await laurel
      .complete(action, { deadlineMs: 1500 })
      .catch((thrown: unknown) => thrown);
    laurel.close();
    expect(error).to.be.instanceOf(LaurelError);
    const { code, statusUrl } = error as LaurelError;
    expect(code).to.equal('TIMEOUT');
    expect(statusUrl).to.equal(`${api}/api/v1/actions/${action.actionId}`);
    const { status } = await call(api, 'GET', `/actions/${action.actionId}`, { token: player.token });
    expect(status).to.equal(200);
  });
});
