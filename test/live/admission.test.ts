import { expect } from 'chai';
import { connect as connectTcp, type Socket as TcpSocket } from 'node:net';
import { after, afterEach } from 'mocha';
import jwt from 'jsonwebtoken';
import { WebSocket } from 'ws';
import { eventually } from '../support/eventually.ts';
import { call, Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { spawnTier, startTier, useSystem, type RunningTier } from '../support/system.ts';
import { Listener, Stream } from './viewers.ts';

const secret = 'tests-sign-access-tokens-with-this-0001';

describe('admission of connections', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores, { realtime: 2 });
  const api = (): string => system.api[0]!.url;
  const listeners: Listener[] = [];
  const streams: Stream[] = [];
  const raw: WebSocket[] = [];
  const extra: RunningTier[] = [];

  afterEach(async () => {
    for (const { socket } of listeners.splice(0)) socket.disconnect();
    for (const one of raw.splice(0)) one.terminate();
    await Promise.all(streams.splice(0).map((one) => one.close()));
  });
  after(() => Promise.all(extra.map((tier) => tier.stop())));

  const tierWith = async (env: Record<string, string>): Promise<string> => {
    const tier = await startTier('realtime', stores, env);
    extra.push(tier);
    return tier.url;
  };
  const connect = (base: string, token?: string, headers?: Record<string, string>): Listener => {
    const listener = new Listener(base, token, headers);
    listeners.push(listener);
    return listener;
  };
  /** A WebSocket that says nothing by itself. */
  const silent = (base: string, headers: Record<string, string> = {}): WebSocket => {
    const one = new WebSocket(`${base.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`, {
      headers,
    });
    one.on('error', () => undefined);
    raw.push(one);
    return one;
  };
  const opened = (one: WebSocket): Promise<boolean> =>
    new Promise((resolve) => {
      one.once('open', () => resolve(true));
      one.once('close', () => resolve(false));
    });
  const closed = (one: WebSocket): Promise<void> =>
    new Promise((resolve) =>
      one.readyState === WebSocket.CLOSED ? resolve() : one.once('close', () => resolve()),
    );

  it('keeps an address that says nothing from filling an instance, and cuts its connections', async () => {
    const base = await tierWith({
      TRUSTED_PROXIES: '1',
      RATE_LIMIT_IP_PER_MINUTE: '300',
      REALTIME_MAX_CONNECTIONS: '50',
      REALTIME_MAX_CONNECTIONS_PER_IP: '10',
    });
    const headers = { 'x-forwarded-for': '203.0.113.7' };
    const many = Array.from({ length: 60 }, () => silent(base, headers));
    const taken = (await Promise.all(many.map(opened))).filter(Boolean).length;
    expect(taken).to.be.within(10, 15);
    const other = connect(base, undefined, { 'x-forwarded-for': '203.0.113.8' });
    expect(await other.handshake).to.deep.equal({ code: 'connected' });
    await Promise.all(many.map(closed));
    // The address is not locked out by what it did.
    await eventually(
      async () =>
        expect(await connect(base, undefined, headers).handshake).to.deep.equal({ code: 'connected' }),
      { timeoutMs: 10_000 },
    );
  });

  it('drops a connection at its second CONNECT, and at one to another namespace; others do not wait', async () => {
    const base = await tierWith({ REALTIME_CONNECTS_PER_SECOND: '50' });
    const flood = silent(base);
    await opened(flood);
    for (let i = 0; i < 3200; i += 1) flood.send('40');
    const elsewhere = silent(base);
    await opened(elsewhere);
    elsewhere.send('40/admin,');
    await Promise.all([closed(flood), closed(elsewhere)]);
    const begun = performance.now();
    expect(await connect(base).handshake).to.deep.equal({ code: 'connected' });
    // 3,200 turns would be over a minute, of which the longest that anybody waits is 2 s.
    expect(performance.now() - begun).to.be.below(2000);
  });

  it('counts event streams among a user’s three, over all instances', async () => {
    const player = await Player.join(api());
    const authorization = `Bearer ${player.token}`;
    const [here, there] = system.realtime.map(({ url }) => url) as [string, string];
    const stream = async (base: string): Promise<Stream> => {
      const one = await Stream.open(base, '/leaderboards/global/stream', { authorization });
      streams.push(one);
      expect(one.status).to.equal(200);
      await eventually(() => expect(one.events).not.to.be.empty);
      return one;
    };
    const first = await stream(here);
    const second = connect(there, player.token);
    expect(await second.handshake).to.deep.equal({ code: 'connected' });
    await second.ask('leave:leaderboard', { leaderboard: 'global' });
    await stream(there);
    const fourth = await stream(there);
    await first.ended;
    expect(first.events.at(-1)).to.deep.include({ event: 'session:closed' });
    await stream(here);
    await second.ended;
    expect(second.of('session:closed')).to.deep.equal([{ code: 'TOO_MANY_CONNECTIONS' }]);
    expect(fourth.events.map(({ event }) => event)).not.to.include('session:closed');
  });

  it('judges long tokens alike on HTTP, sockets and streams', async () => {
    const player = await Player.join(api());
    const token = jwt.sign({ sub: player.userId, filler: 'x'.repeat(8000) }, secret, { expiresIn: 60 });
    expect(token.length).to.be.within(10_000, 12_000);
    expect((await call(api(), 'GET', '/users/me', { token })).status).to.equal(200);
    const [base] = system.realtime.map(({ url }) => url) as [string];
    expect(await connect(base, token).handshake).to.deep.equal({ code: 'connected' });
    const stream = await Stream.open(base, '/leaderboards/global/stream', {
      authorization: `Bearer ${token}`,
    });
    streams.push(stream);
    expect(stream.status).to.equal(200);
  });

  it('does not end when a handshake is cut at any byte', async () => {
    const tier = await spawnTier('realtime', stores);
    extra.push(tier);
    const port = Number(new URL(tier.url).port);
    const head = (path: string, rest: string): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n${rest}\r\n`;
    const requests = [
      head(
        '/socket.io/?EIO=4&transport=websocket',
        'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n',
      ),
      head('/socket.io/?EIO=4&transport=polling', ''),
      head('/api/v1/leaderboards/global/stream', ''),
    ];
    const cut = (text: string, reset: boolean): Promise<void> =>
      new Promise((resolve) => {
        const socket: TcpSocket = connectTcp(port, '127.0.0.1', () => {
          socket.write(text, () => (reset ? socket.resetAndDestroy() : socket.destroy()));
        });
        socket.on('error', () => undefined);
        socket.on('close', () => resolve());
      });
    for (const text of requests)
      for (let end = 1; end <= text.length; end += 1) await cut(text.slice(0, end), end % 2 === 0);
    expect(tier.process?.exitCode).to.equal(null);
    expect(await connect(tier.url).handshake).to.deep.equal({ code: 'connected' });
  });
});
