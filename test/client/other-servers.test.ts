import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { afterEach } from 'mocha';
import { Server as SocketServer } from 'socket.io';
import { LaurelClient, LaurelError, type Board, type TransportName } from '../../client/index.ts';
import { eventually } from '../support/eventually.ts';

const board: Board = {
  leaderboard: 'global',
  period: 'all',
  periodStart: null,
  periodEnd: null,
  version: 1,
  total: 0,
  updatedAt: null,
  state: 'open',
  closedAt: null,
  correctedAt: null,
  entries: [],
};

describe('the SDK, with a server that is broken, or another', function () {
  const servers: Server[] = [];
  const clients: LaurelClient[] = [];

  async function serve(handle: RequestListener): Promise<string> {
    const server = createServer(handle);
    servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }
  function clientOf(
    baseUrl: string,
    { storage, transports }: { storage?: Map<string, string>; transports?: readonly TransportName[] } = {},
  ): LaurelClient {
    const client = new LaurelClient({
      baseUrl,
      ...(transports && { transports: [...transports] }),
      ...(storage && {
        storage: {
          getItem: (key: string) => storage.get(key) ?? null,
          setItem: (key: string, value: string) => void storage.set(key, value),
          removeItem: (key: string) => void storage.delete(key),
        },
      }),
    });
    clients.push(client);
    return client;
  }
  afterEach(() => {
    for (const client of clients.splice(0)) client.close();
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
  });
  const failure = async (work: Promise<unknown>): Promise<LaurelError> => {
    const error = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).to.be.instanceOf(LaurelError);
    return error as LaurelError;
  };

  it('takes no password along to another origin', async () => {
    let asked = 0;
    const other = await serve((_, response) => {
      asked += 1;
      response.end('{}');
    });
    const url = await serve(({ url: path }, response) =>
      response.writeHead(307, { location: `${other}${path}` }).end(),
    );
    const error = await failure(clientOf(url).login({ username: 'ada', password: 'a secret' }));
    expect(error.code).to.equal('NETWORK_ERROR');
    expect(asked).to.equal(0);
  });

  for (const answer of [
    '',
    'null',
    '5',
    '[]',
    '{}',
    '{"user":null}',
    '{"accessToken":5,"user":{"userId":"a"}}',
  ])
    it(`says BAD_RESPONSE of a login that is answered ${answer || 'with nothing'}`, async () => {
      const url = await serve((_, response) => response.end(answer));
      const client = clientOf(url);
      expect((await failure(client.login({ username: 'ada', password: 'x' }))).code).to.equal('BAD_RESPONSE');
      expect(client.user).to.equal(null);
    });

  it('does not give a login up for a refresh that brings no tokens', async () => {
    const grant = {
      accessToken: 'a',
      refreshToken: 'r',
      expiresIn: 0,
      user: { userId: 'u', username: 'ada' },
    };
    const url = await serve(({ url: path }, response) =>
      response.end(path?.endsWith('/login') ? JSON.stringify(grant) : '{}'),
    );
    const storage = new Map<string, string>();
    const client = clientOf(url, { storage });
    await client.login({ username: 'ada', password: 'x' });
    const before = [...storage.values()];
    expect((await failure(client.start('COMPLETE_TASK'))).code).to.equal('BAD_RESPONSE');
    expect([...storage.values()]).to.deep.equal(before);
  });

  for (const transport of ['polling', 'sse'] as const)
    it(`asks no more often by ${transport} because it is told to wait for ever`, async () => {
      let asked = 0;
      const url = await serve((_, response) => {
        asked += 1;
        response.writeHead(503, { 'retry-after': '99999999999' }).end('{"code":"UNAVAILABLE"}');
      });
      const warned: string[] = [];
      const onWarning = ({ name }: Error): void => void warned.push(name);
      process.on('warning', onWarning);
      const watcher = clientOf(url, { transports: [transport] }).watch('global');
      try {
        await eventually(() => expect(asked).to.be.above(0));
        await eventually(() => expect(watcher.trouble).to.not.equal(null));
        // A timer that cannot be set for so long runs at once, and says so.
        await new Promise((resolve) => setImmediate(resolve));
        expect(warned).to.not.include('TimeoutOverflowWarning');
      } finally {
        process.off('warning', onWarning);
        watcher.close();
      }
    });

  const frame = {
    leaderboard: 'global',
    period: 'all',
    version: 2,
    previousVersion: 1,
    timestamp: 'x',
    total: 1,
  };
  for (const [event, payload] of [
    ['leaderboard:update', null],
    ['leaderboard:update', { ...frame, entries: null, changes: [] }],
    ['leaderboard:update', { ...frame, entries: [null], changes: [] }],
    ['leaderboard:update', { ...frame, entries: [], changes: 5 }],
    ['session:closed', null],
    ['score:update', null],
  ] as const)
    it(`hears nothing in ${event} ${JSON.stringify(payload)}, and goes on`, async () => {
      const url = await serve((_, response) => response.writeHead(503).end());
      const io = new SocketServer(servers[0]);
      io.on('connection', (socket) =>
        socket.on('join:leaderboard', (_, acknowledge: (answer: unknown) => void) => {
          acknowledge({ ok: true, snapshot: board });
          socket.emit(event, payload);
          const entries = [
            { rank: 1, userId: 'a', username: 'ada', avatarUrl: null, score: 5, updatedAt: 'x' },
          ];
          socket.emit('leaderboard:update', { ...frame, entries, changes: [] });
        }),
      );
      const client = clientOf(url, { transports: ['socket'] });
      const heard: unknown[] = [];
      client.on('score:update', (update) => heard.push(update));
      const watcher = client.watch('global');
      await eventually(() => expect(watcher.board?.entries).to.have.length(1));
      expect(heard).to.deep.equal([]);
      watcher.close();
      await io.close();
    });
});
