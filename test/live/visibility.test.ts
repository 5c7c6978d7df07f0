import { expect } from 'chai';
import { after, afterEach, before } from 'mocha';
import { administrator } from '../support/administrator.ts';
import { untilBoardsAreMade } from '../support/boards.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';
import { Listener, Stream } from './viewers.ts';

describe('who may see a board', () => {
  const stores = useStores();
  const system = useSystem(stores, { realtime: 1 });
  const api = (): string => system.api[0]!.url;
  const live = (): string => system.realtime[0]!.url;
  let admin: Player;
  let player: Player;
  const listeners: Listener[] = [];
  const streams: Stream[] = [];

  const patch = (key: string, body: Record<string, unknown>): Promise<Answer> =>
    call(api(), 'PATCH', `/admin/leaderboards/${key}`, { token: admin.token, body });
  const connect = async (who?: Player): Promise<Listener> => {
    const listener = new Listener(live(), who?.token);
    listeners.push(listener);
    expect(await listener.handshake).to.deep.equal({ code: 'connected' });
    return listener;
  };
  const stream = async (key: string, who?: Player): Promise<Stream> => {
    const opened = await Stream.open(
      live(),
      `/leaderboards/${key}/stream`,
      who ? { authorization: `Bearer ${who.token}` } : {},
    );
    streams.push(opened);
    return opened;
  };

  before(async () => {
    admin = await administrator(stores.databaseUrl, api());
    player = await Player.join(api());
    for (const key of ['secret', 'turning', 'leaving']) {
      const visibility = key === 'secret' ? 'private' : 'public';
      const made = await call(api(), 'POST', '/admin/leaderboards', {
        token: admin.token,
        body: { key, title: key, visibility },
      });
      expect(made.status).to.equal(201);
      await untilBoardsAreMade(stores, key);
    }
  });
  afterEach(async () => {
    for (const { socket } of listeners.splice(0)) socket.disconnect();
    await Promise.all(streams.splice(0).map((one) => one.close()));
  });
  after(() => Promise.all(streams.map((one) => one.close())));

  it('is asked by every route: a private board answers as one that does not exist', async () => {
    const routes: [string, string, unknown?][] = [
      ['GET', '/leaderboards/KEY'],
      ['GET', '/leaderboards/KEY?period=daily&date=2026-01-01'],
      ['GET', '/leaderboards/KEY/users/me'],
      ['GET', `/leaderboards/KEY/users/${player.userId}?neighbors=2`],
      ['GET', '/leaderboards/KEY/friends'],
      ['POST', '/leaderboards/KEY/ranks', { userIds: [player.userId] }],
      ['GET', `/users/${player.userId}/history?leaderboard=KEY`],
      ['POST', '/actions', { type: 'COMPLETE_TASK', leaderboard: 'KEY' }],
    ];
    for (const [method, path, body] of routes) {
      const ask = async (key: string, token: string | undefined) => {
        const text = JSON.stringify(body)?.replace('KEY', key);
        const { status, body: got } = await call(api(), method, path.replace('KEY', key), {
          token,
          ...(text !== undefined && { body: text }),
        });
        return [status, got.code, String(got.detail).replace(key, 'KEY')];
      };
      for (const token of [undefined, player.token]) {
        const answer = await ask('secret', token);
        expect(answer[0], path).to.be.oneOf([400, 401, 404]);
        expect(answer, path).to.deep.equal(await ask('nowhere', token));
      }
      expect((await ask('secret', admin.token))[0], path).to.be.oneOf([200, 201]);
    }
    const keys = async (token?: string) =>
      ((await call(api(), 'GET', '/leaderboards', { token })).body.leaderboards as { key: string }[]).map(
        ({ key }) => key,
      );
    expect(await keys(player.token)).not.to.include('secret');
    expect(await keys(admin.token)).to.include('secret');
  });

  it('is asked by sockets and streams', async () => {
    for (const who of [undefined, player]) {
      const listener = await connect(who);
      expect(await listener.ask('join:leaderboard', { leaderboard: 'secret' })).to.deep.equal({
        ok: false,
        code: 'LEADERBOARD_NOT_FOUND',
      });
      expect((await stream('secret', who)).status).to.equal(404);
    }
    expect(await (await connect(admin)).ask('join:leaderboard', { leaderboard: 'secret' })).to.include({
      ok: true,
    });
    expect((await stream('secret', admin)).status).to.equal(200);
  });

  it('is asked before spectators hear of play', async () => {
    const [stranger, operator, own] = [await connect(), await connect(admin), await connect(admin)];
    for (const one of [stranger, operator]) await one.ask('spectate:user', { userId: admin.userId });
    expect((await admin.play(api(), 'COMPLETE_TASK', 'secret')).status).to.equal(200);
    expect((await admin.play(api(), 'COMPLETE_TASK', 'game1')).status).to.equal(200);
    const boards = (one: Listener) => one.of('score:update').map(({ leaderboard }) => leaderboard as string);
    await eventually(() => expect(boards(stranger)).to.include('game1'));
    await eventually(() => expect(boards(operator)).to.deep.equal(['secret', 'game1']));
    await eventually(() =>
      expect(own.of('rank:achieved').map(({ leaderboard }) => leaderboard)).to.include('secret'),
    );
    expect(boards(stranger)).to.deep.equal(['game1']);
    expect(stranger.of('player:action').map(({ status }) => status)).to.deep.equal(['started', 'completed']);
    expect(operator.of('player:action')).to.have.length(4);
  });

  it('is asked again when a board becomes private, or goes', async () => {
    const change = {
      turning: () => patch('turning', { visibility: 'private' }),
      leaving: () => call(api(), 'DELETE', '/admin/leaderboards/leaving', { token: admin.token }),
    };
    const started = await player.start(api(), 'COMPLETE_TASK', 'turning');
    for (const key of ['turning', 'leaving'] as const) {
      const [watcher, operator] = [await connect(player), await connect(admin)];
      for (const one of [watcher, operator])
        expect(await one.ask('join:leaderboard', { leaderboard: key })).to.include({ ok: true });
      const watched = await stream(key, player);
      expect(watched.status).to.equal(200);
      expect((await change[key]()).status).to.be.oneOf([200, 204]);
      await watched.ended;
      expect(watched.events.at(-1)?.event).to.equal('board:closed');
      const closed = [{ leaderboard: key, period: 'all' }];
      await eventually(() => expect(watcher.of('board:closed')).to.deep.equal(closed));
      expect(operator.of('board:closed')).to.deep.equal(key === 'turning' ? [] : closed);
      // The connection itself goes on.
      expect(await watcher.ask('join:leaderboard', { leaderboard: key })).to.include({ ok: false });
      if (key === 'turning') {
        await admin.play(api(), 'COMPLETE_TASK', key);
        await eventually(() => expect(operator.of('leaderboard:update')).not.to.be.empty);
        expect(watcher.of('leaderboard:update')).to.deep.equal([]);
        const completed = await player.complete(api(), started.body);
        expect([completed.status, completed.body.code]).to.deep.equal([400, 'UNKNOWN_LEADERBOARD']);
      }
    }
  });

  it('keeps answers to a token out of shared caches, and says what public ones depend on', async () => {
    const document = (await call(api(), 'GET', '//openapi.json')).body as {
      paths: Record<string, Record<string, unknown>>;
    };
    const paths = Object.entries(document.paths)
      .filter(([, methods]) => 'get' in methods)
      .map(([path]) => path.replace(/^\/api\/v1/, ''));
    expect(paths).to.include('/leaderboards/{key}');
    for (const template of paths) {
      const path = template
        .replace('{key}', 'global')
        .replace('{userId}', player.userId)
        .replace(/\{\w+\}/g, 'none');
      if (path.endsWith('/stream')) continue;
      for (const who of [admin, player]) {
        const answer = await call(api(), 'GET', path, { token: who.token });
        expect(answer.headers['cache-control'], `${path} ${answer.status}`).to.match(/^(private|no-store)/);
      }
      const { status, headers } = await call(api(), 'GET', path);
      if (String(headers['cache-control']).includes('public'))
        expect(headers['vary'], `${path} ${status}`)
          .to.match(/Origin/)
          .and.to.match(/Authorization/);
    }
    const tag = String((await call(api(), 'GET', '/leaderboards/global')).headers['etag']);
    const unchanged = await call(api(), 'GET', '/leaderboards/global', {
      token: admin.token,
      headers: { 'if-none-match': tag },
    });
    expect([unchanged.status, unchanged.headers['cache-control']]).to.deep.equal([
      304,
      'private, max-age=1, stale-while-revalidate=5',
    ]);
  });

  it('answers without a token what shared caches may keep, also right after somebody with one has asked', async () => {
    for (const query of ['limit=7', 'limit=7&offset=1', 'period=daily', 'period=daily&date=2026-01-01']) {
      const path = `/leaderboards/global?${query}`;
      const own = await call(api(), 'GET', path, { token: player.token });
      const answer = await call(api(), 'GET', path);
      expect([own.status, own.headers['cache-control']], path).to.deep.equal([
        200,
        'private, max-age=1, stale-while-revalidate=5',
      ]);
      expect([answer.status, answer.headers['cache-control']], path).to.deep.equal([
        200,
        'public, max-age=1, stale-while-revalidate=5',
      ]);
      expect(answer.headers['vary'], path).to.match(/Authorization/);
    }
  });

  it('is not asked about what means nothing: case, a last slash, an address with a host, _', async () => {
    const urls = [
      '/API/v1/Leaderboards/global/Stream',
      '/api/v1/leaderboards/global/stream/',
      '/api/v1/leaderboards/global/stream?_=123&period=daily',
    ];
    for (const url of urls) expect((await fetchHead(live() + url)).status, url).to.equal(200);
    for (const path of ['/leaderboards?_=1', '/leaderboards/global?_=1', '/leaderboards/global/users/me?_=2'])
      expect((await call(api(), 'GET', path, { token: player.token })).status, path).to.equal(200);
    expect((await call(api(), 'GET', '/leaderboards/global?__=1')).status).to.equal(400);
  });
});

/** The head of an answer that does not end. */
async function fetchHead(url: string): Promise<{ status: number }> {
  const abort = new AbortController();
  const { status } = await fetch(url, { signal: abort.signal });
  abort.abort();
  return { status };
}
