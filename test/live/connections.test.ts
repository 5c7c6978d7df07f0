import { expect } from 'chai';
import { Redis } from 'ioredis';
import jwt from 'jsonwebtoken';
import { after, afterEach } from 'mocha';
import { request } from 'undici';
import { administrator } from '../support/administrator.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { startTier, useSystem, type RunningTier } from '../support/system.ts';
import { Listener, Stream } from './viewers.ts';

describe('connections', () => {
  const stores = useStores();
  const system = useSystem(stores, { realtime: 2 });
  const api = (): string => system.api[0]!.url;
  const listeners: Listener[] = [];
  const streams: Stream[] = [];
  const extra: RunningTier[] = [];

  const connect = (base: string, token?: string, headers?: Record<string, string>): Listener => {
    const listener = new Listener(base, token, headers);
    listeners.push(listener);
    return listener;
  };
  const stream = async (base: string, path: string, headers?: Record<string, string>): Promise<Stream> => {
    const opened = await Stream.open(base, path, headers);
    streams.push(opened);
    return opened;
  };
  const realtimeWith = async (env: Record<string, string>): Promise<string> => {
    const tier = await startTier('realtime', stores, env);
    extra.push(tier);
    return tier.url;
  };
  const metric = async (base: string, name: string): Promise<number> => {
    const text = await (await request(`${base}/metrics`)).body.text();
    const line = text.split('\n').find((one) => one.startsWith(name));
    return Number(line?.split(' ').at(-1) ?? 0);
  };

  afterEach(async () => {
    for (const { socket } of listeners.splice(0)) socket.disconnect();
    await Promise.all(streams.splice(0).map((one) => one.close()));
  });
  after(() => Promise.all(extra.map((tier) => tier.stop())));

  it('lets a user have three, over all instances, and closes the oldest for a fourth', async () => {
    const [player, other] = await Promise.all([Player.join(api()), Player.join(api())]);
    const stranger = connect(system.realtime[0]!.url, other!.token);
    const own: Listener[] = [];
    for (let i = 0; i < 5; i += 1) {
      const listener = connect(system.realtime[i % 2]!.url, player!.token);
      own.push(listener);
      expect(await listener.handshake).to.deep.equal({ code: 'connected' });
      // It is written down once it is heard.
      await listener.ask('leave:leaderboard', { leaderboard: 'global' });
      await own[i - 3]?.ended;
    }
    for (const oldest of own.slice(0, 2)) {
      expect(await oldest.ended).to.equal('io server disconnect');
      expect(oldest.of('session:closed')).to.deep.equal([{ code: 'TOO_MANY_CONNECTIONS' }]);
    }
    await Promise.all(own.slice(2).map((one) => one.ask('join:leaderboard', { leaderboard: 'global' })));
    expect(own.map(({ socket }) => socket.connected)).to.deep.equal([false, false, true, true, true]);
    expect(stranger.socket.connected).to.equal(true);
    // One that leaves makes room.
    own[4]!.socket.disconnect();
    await eventually(() => expect(own[4]!.socket.connected).to.equal(false));
    const next = connect(system.realtime[0]!.url, player!.token);
    await next.handshake;
    await next.ask('join:leaderboard', { leaderboard: 'global' });
    await own[2]!.ask('join:leaderboard', { leaderboard: 'global' });
    expect(own[2]!.socket.connected).to.equal(true);
  });

  it('warns of the end of a token, and ends the connection and the stream with it', async () => {
    const player = await Player.join(api());
    const exp = Math.ceil(Date.now() / 1000) + 2;
    const token = jwt.sign({ sub: player.userId, exp }, 'tests-sign-access-tokens-with-this-0001');
    const listener = connect(system.realtime[0]!.url, token);
    const opened = await stream(system.realtime[1]!.url, '/leaderboards/global/stream', {
      authorization: `Bearer ${token}`,
    });
    expect(opened.status).to.equal(200);
    expect(await listener.ended).to.equal('io server disconnect');
    await opened.ended;
    expect(listener.heard).to.deep.equal([
      // Five seconds of leeway for clocks: until then the token is good everywhere.
      { event: 'session:expiring', payload: { expiresAt: new Date((exp + 5) * 1000).toISOString() } },
      { event: 'session:closed', payload: { code: 'TOKEN_EXPIRED' } },
    ]);
    expect(await connect(system.realtime[0]!.url, token).handshake).to.include({ code: 'UNAUTHENTICATED' });
  });

  it('ends a banned user’s connections and streams at every instance, and nobody else’s', async () => {
    const [player, other] = await Promise.all([Player.join(api()), Player.join(api())]);
    const admin = await administrator(stores.databaseUrl, api());
    const own = system.realtime.map(({ url }) => connect(url, player!.token));
    const stranger = connect(system.realtime[0]!.url, other!.token);
    await Promise.all([...own, stranger].map(({ handshake }) => handshake));
    const opened = await stream(system.realtime[0]!.url, '/leaderboards/global/stream', {
      authorization: `Bearer ${player!.token}`,
    });
    const banned = await call(api(), 'POST', `/admin/users/${player!.userId}/ban`, {
      token: admin.token,
      body: { reason: 'cheating' },
    });
    expect(banned.status).to.equal(200);
    await Promise.all([...own.map(({ ended }) => ended), opened.ended]);
    for (const one of own) expect(one.of('session:closed')).to.deep.equal([{ code: 'USER_BANNED' }]);
    expect(stranger.socket.connected).to.equal(true);
    expect(await connect(system.realtime[1]!.url, player!.token).handshake).to.include({
      code: 'USER_BANNED',
    });
  });

  it('limits what one address has open, sockets and streams together, and says when to come again', async () => {
    const base = await realtimeWith({
      TRUSTED_PROXIES: '1',
      RATE_LIMIT_IP_PER_MINUTE: '300',
      REALTIME_MAX_CONNECTIONS_PER_IP: '2',
    });
    const from = (ip: string) => ({ 'x-forwarded-for': ip });
    const first = connect(base, undefined, from('203.0.113.7'));
    expect(await first.handshake).to.deep.equal({ code: 'connected' });
    const second = await stream(base, '/leaderboards/global/stream', from('203.0.113.7'));
    expect(second.status).to.equal(200);

    const refused = await connect(base, undefined, from('203.0.113.7')).handshake;
    expect(refused.code).to.equal('RATE_LIMITED');
    expect(refused.retryAfterMs).to.be.above(0);
    const third = await eventually(() => stream(base, '/leaderboards/global/stream', from('203.0.113.7')));
    expect(third.status).to.equal(429);
    expect(third.problem).to.include({ code: 'RATE_LIMITED', status: 429 });
    expect(Number(third.headers['retry-after'])).to.be.least(1);
    expect(await connect(base, undefined, from('203.0.113.8')).handshake).to.deep.equal({
      code: 'connected',
    });

    first.socket.disconnect();
    await eventually(async () =>
      expect(await connect(base, undefined, from('203.0.113.7')).handshake).to.deep.equal({
        code: 'connected',
      }),
    );
  });

  it('are forgotten when they have closed: by the book, by the metrics, and by the next who come', async () => {
    const base = await realtimeWith({});
    const player = await Player.join(api());
    const redis = new Redis(stores.redis.url);
    const written = (): Promise<number> => redis.zcard(`laurel:{${player.userId}}:connections`);
    const open = async (): Promise<number[]> => [
      await metric(base, 'laurel_socket_connections'),
      await metric(base, 'laurel_stream_connections'),
      await written(),
    ];
    try {
      const listener = connect(base, player.token);
      expect(await listener.handshake).to.deep.equal({ code: 'connected' });
      const opened = await stream(base, '/leaderboards/global/stream', {
        authorization: `Bearer ${player.token}`,
      });
      expect(opened.status).to.equal(200);
      await eventually(async () => expect(await open()).to.deep.equal([1, 1, 2]));
      listener.socket.disconnect();
      await opened.close();
      await eventually(async () => expect(await open()).to.deep.equal([0, 0, 0]));
    } finally {
      await redis.quit();
    }
  });

  it('limits what one instance has open', async () => {
    const base = await realtimeWith({ REALTIME_MAX_CONNECTIONS: '2' });
    const two = [connect(base), connect(base)];
    for (const { handshake } of two) expect(await handshake).to.deep.equal({ code: 'connected' });
    const third = await connect(base).handshake;
    expect(third).to.include({ code: 'RATE_LIMITED' });
    expect(third.retryAfterMs).to.be.above(0);
    for (const { socket } of two) expect(socket.connected).to.equal(true);
  });

  it('lets a rush of connections in one after another, and refuses those at its end with a hint', async () => {
    const base = await realtimeWith({ REALTIME_CONNECTS_PER_SECOND: '2' });
    const rush = Array.from({ length: 10 }, () => connect(base));
    const outcomes = await Promise.all(rush.map(({ handshake }) => handshake));
    const refused = outcomes.filter(({ code }) => code !== 'connected');
    expect(refused).not.to.be.empty;
    expect(refused.length).to.be.at.most(3); // seven turns fit into the burst and the two seconds' wait
    for (const { code, retryAfterMs } of refused) {
      expect(code).to.equal('RATE_LIMITED');
      expect(retryAfterMs).to.be.above(0);
    }
    // The connection below ends with the refusal.
    await eventually(async () =>
      expect(await metric(base, 'laurel_socket_connections')).to.equal(10 - refused.length),
    );
  });

  it('disconnects a client that stops reading, before it costs memory', async () => {
    const base = await realtimeWith({ REALTIME_MAX_BUFFERED_BYTES: '16384', BROADCAST_WINDOW_MS: '10' });
    const url = `${base}/socket.io/?EIO=4&transport=polling`;
    const text = async (method: 'GET' | 'POST', address: string, body?: string): Promise<string> =>
      (await request(address, { method, ...(body !== undefined && { body }) })).body.text();
    const { sid } = JSON.parse((await text('GET', url)).slice(1)) as { sid: string };
    const session = `${url}&sid=${sid}`;
    await text('POST', session, '40');
    expect(await text('GET', session)).to.match(/^40/);
    await text('POST', session, '421["join:leaderboard",{"leaderboard":"game2"}]');
    // From here on it asks for nothing more, while the board goes on.
    const reader = connect(base);
    await reader.ask('join:leaderboard', { leaderboard: 'game2' });
    const players = await Promise.all(Array.from({ length: 8 }, () => Player.join(api())));
    await eventually(
      async () => {
        await Promise.all(players.map((player) => player.play(api(), 'COMPLETE_TASK', 'game2')));
        const cut = await metric(base, 'laurel_socket_closed_total{reason="too_slow"');
        expect(cut, `after ${reader.of('leaderboard:update').length} frames`).to.equal(1);
      },
      { timeoutMs: 15_000 },
    );
    expect(JSON.parse(await text('GET', session))).to.include({ code: 1 });
    expect(reader.socket.connected).to.equal(true);
  });

  it('refuses and counts events that it does not know, and too many of any', async () => {
    const base = await realtimeWith({});
    const listener = connect(base);
    expect(await listener.ask('drop:tables', {})).to.deep.equal({ ok: false, code: 'INVALID_REQUEST' });
    expect(await metric(base, 'laurel_socket_unknown_events_total')).to.equal(1);
    const answers = await Promise.all(
      Array.from({ length: 150 }, () => listener.ask('leave:leaderboard', { leaderboard: 'global' })),
    );
    expect(answers.filter(({ ok }) => ok).length).to.be.at.least(99);
    expect(answers.filter(({ code }) => code === 'RATE_LIMITED')).not.to.be.empty;
    expect(listener.socket.connected).to.equal(true);
  });
});
