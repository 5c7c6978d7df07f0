import { expect } from 'chai';
import { afterEach } from 'mocha';
import { eventually } from '../support/eventually.ts';
import { call, Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { startTier, useSystem, type RunningTier } from '../support/system.ts';
import { Listener, Stream } from './viewers.ts';

describe('event streams', () => {
  const stores = useStores();
  const system = useSystem(stores, { realtime: 1 });
  const api = (): string => system.api[0]!.url;
  const base = (): string => system.realtime[0]!.url;
  const streams: Stream[] = [];
  const extra: RunningTier[] = [];
  const open = async (path: string, headers?: Record<string, string>, from = base()): Promise<Stream> => {
    const stream = await Stream.open(from, path, headers);
    streams.push(stream);
    return stream;
  };
  afterEach(async () => {
    await Promise.all(streams.splice(0).map((stream) => stream.close()));
    await Promise.all(extra.splice(0).map((tier) => tier.stop()));
  });

  it('sends a snapshot, then the very updates that sockets get, each with the board’s version as its id', async () => {
    const player = await Player.join(api());
    await player.play(api(), 'COMPLETE_TASK', 'game1');
    const stream = await open('/leaderboards/game1/stream');
    expect(stream.status).to.equal(200);
    expect(stream.headers['content-type']).to.equal('text/event-stream; charset=utf-8');
    expect(stream.headers['cache-control']).to.equal('no-store, no-transform');
    expect(stream.headers['x-accel-buffering']).to.equal('no');
    expect(stream.headers['x-request-id']).to.be.a('string');
    const first = await eventually(() => {
      expect(stream.events).not.to.be.empty;
      return stream.events[0]!;
    });
    expect(first.event).to.equal('leaderboard:snapshot');
    const snapshot = JSON.parse(first.data);
    expect(first.id).to.equal(String(snapshot.version));
    const { body } = await call(api(), 'GET', '/leaderboards/game1');
    expect(body).to.deep.include(snapshot);

    const listener = new Listener(base());
    try {
      const { snapshot: joined } = await listener.ask('join:leaderboard', { leaderboard: 'game1' });
      expect(joined).to.deep.equal(snapshot);
      await player.play(api(), 'COMPLETE_QUEST', 'game1');
      await eventually(() => expect(listener.of('leaderboard:update')).to.have.length(1));
      await eventually(() => expect(stream.events).to.have.length(2));
      const update = stream.events[1]!;
      expect(update.event).to.equal('leaderboard:update');
      const frame = JSON.parse(update.data);
      expect(frame).to.deep.equal(listener.of('leaderboard:update')[0]);
      expect(update.id).to.equal(String(frame.version));
      expect(frame.previousVersion).to.equal(snapshot.version);
    } finally {
      listener.socket.disconnect();
    }
  });

  it('goes on from a current Last-Event-ID without a snapshot, and starts anew from any other', async () => {
    const player = await Player.join(api());
    await player.play(api(), 'COMPLETE_TASK', 'game2');
    const { version } = await eventually(async () => {
      const { body } = await call(api(), 'GET', '/leaderboards/game2?period=weekly');
      expect(body.total).to.equal(1);
      return body;
    });
    const path = '/leaderboards/game2/stream?period=weekly';
    const [current, old] = await Promise.all([
      open(path, { 'last-event-id': String(version) }),
      open(path, { 'last-event-id': String(version - 1) }),
    ]);
    await eventually(() => expect(old!.events).to.have.length(1));
    await player.play(api(), 'COMPLETE_QUEST', 'game2');
    await eventually(() => expect(old!.events).to.have.length(2));
    await eventually(() => expect(current!.events).to.have.length(1));
    expect(old!.events.map(({ event }) => event)).to.deep.equal([
      'leaderboard:snapshot',
      'leaderboard:update',
    ]);
    expect(current!.events[0]).to.deep.equal(old!.events[1]);
    expect(JSON.parse(current!.events[0]!.data).previousVersion).to.equal(version);
  });

  it('carries a comment now and then while nothing happens, so that no proxy gives it up', async () => {
    const tier = await startTier('realtime', stores, { REALTIME_STREAM_HEARTBEAT_SECONDS: '1' });
    extra.push(tier);
    const path = '/leaderboards/global/stream?period=monthly';
    const stream = await open(path, {}, tier.url);
    await eventually(() => expect(stream.text.match(/^:\n\n/gm)).to.have.length(2));
    // Comments are for what is in between: readers see the board, and nothing else.
    expect(stream.events.map(({ event }) => event)).to.deep.equal(['leaderboard:snapshot']);
    expect(stream.headers).to.include({
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
    });
    expect(stream.headers).not.to.have.any.keys('content-encoding', 'content-length');
  });

  it('answers what is wrong as the API does', async () => {
    const cases = [
      ['/leaderboards/nosuch/stream', {}, 404, 'LEADERBOARD_NOT_FOUND'],
      ['/leaderboards/Global/stream', {}, 404, 'LEADERBOARD_NOT_FOUND'],
      ['/leaderboards/global/stream?period=yearly', {}, 400, 'INVALID_REQUEST'],
      ['/leaderboards/global/stream?limit=5', {}, 400, 'INVALID_REQUEST'],
      ['/leaderboards/%zz/stream', {}, 400, 'INVALID_REQUEST'],
      ['/leaderboards/global/stream', { authorization: 'Bearer nonsense' }, 401, 'UNAUTHENTICATED'],
      ['/leaderboards/global/stream', { authorization: 'Basic abc' }, 401, 'UNAUTHENTICATED'],
    ] as const;
    for (const [path, headers, status, code] of cases) {
      const answer = await open(path, headers);
      expect(answer.problem, path).to.include({ status, code });
      expect(answer.status).to.equal(status);
      expect(answer.headers['content-type']).to.equal('application/problem+json');
      expect(answer.headers['cache-control']).to.equal('no-store');
      if (status === 401) expect(answer.headers['www-authenticate']).to.equal('Bearer');
    }
    const posted = await Stream.open(base(), '/leaderboards/global/stream', {}, 'POST');
    expect(posted.status).to.equal(405);
    expect(posted.headers['allow']).to.equal('GET, OPTIONS');
  });

  it('is for readers and listed pages only, where the operator says so', async () => {
    const tier = await startTier('realtime', stores, {
      PUBLIC_READS: 'false',
      CORS_ORIGINS: 'https://game.example',
    });
    extra.push(tier);
    const player = await Player.join(api());
    const path = '/leaderboards/global/stream';
    expect((await open(path, {}, tier.url)).problem).to.include({ code: 'UNAUTHENTICATED' });
    const bearer = { authorization: `Bearer ${player.token}` };
    const listed = await open(path, { ...bearer, origin: 'https://game.example' }, tier.url);
    expect(listed.status).to.equal(200);
    expect(listed.headers['access-control-allow-origin']).to.equal('https://game.example');
    const foreign = await open(path, { ...bearer, origin: 'https://evil.example' }, tier.url);
    expect(foreign.headers['access-control-allow-origin']).to.equal(undefined);
    const preflight = await Stream.open(tier.url, path, { origin: 'https://game.example' }, 'OPTIONS');
    expect(preflight.status).to.equal(204);
    expect(preflight.headers['access-control-allow-headers']).to.include('Last-Event-ID');
  });
});
