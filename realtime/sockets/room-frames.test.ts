import { expect } from 'chai';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach } from 'mocha';
import { Server } from 'socket.io';
import { io as connect, type Socket as Client } from 'socket.io-client';
import { RoomFrames } from './room-frames.ts';
import type { Events, LaurelSocket, SocketData } from './types.ts';

const ROOM = 'board:global:all';

describe('RoomFrames', () => {
  let server: Server<Events, Events, object, SocketData>;
  let frames: RoomFrames;
  let url: string;
  const clients: Client[] = [];

  beforeEach(async () => {
    const http = createServer();
    server = new Server(http);
    frames = new RoomFrames(server.of('/'));
    http.listen(0, '127.0.0.1');
    await once(http, 'listening');
    url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.disconnect();
    await server.close();
  });

  /** A client, what it hears, and its socket at the server. */
  async function join(transport: 'websocket' | 'polling' = 'websocket') {
    const client = connect(url, { transports: [transport], forceNew: true, reconnection: false });
    clients.push(client);
    const heard: unknown[] = [];
    client.onAny((...args: unknown[]) => heard.push(args));
    const [[socket]] = await Promise.all([
      once(server, 'connection') as Promise<[LaurelSocket]>,
      new Promise<void>((resolve) => void client.once('connect', resolve)),
    ]);
    frames.join(socket, ROOM);
    return { client, heard, socket };
  }
  /** Resolves when a client has heard all that was sent to it before. */
  async function settled({ client, socket }: { client: Client; socket: LaurelSocket }): Promise<void> {
    const last = new Promise<void>((resolve) => void client.once('last', resolve));
    socket.emit('last');
    await last;
  }
  const send = (payload: unknown): void => {
    for (const delivery = frames.deliver(ROOM, 'update', payload); !delivery.next().done;);
  };

  it('sends what Socket.IO’s clients read, whatever its length and however they are connected', async () => {
    const watchers = [await join('websocket'), await join('polling')];
    const payloads = [{ n: 1 }, 'ünïcødé 🏆', 'x'.repeat(110), 'y'.repeat(60_000), 'z'.repeat(70_000)];
    for (const payload of payloads) send(payload);
    for (const watcher of watchers) {
      await settled(watcher);
      expect(watcher.heard).to.deep.equal([...payloads.map((payload) => ['update', payload]), ['last']]);
    }
  });

  it('keeps the order of all that a socket is sent', async () => {
    const watcher = await join();
    for (let n = 0; n < 20; n += 1) {
      send(n);
      watcher.socket.emit('other', n);
    }
    await settled(watcher);
    const expected = Array.from({ length: 20 }, (_, n) => [
      ['update', n],
      ['other', n],
    ]).flat();
    expect(watcher.heard).to.deep.equal([...expected, ['last']]);
  });

  it('gives a frame on its way to those who were there, and not to who came, came again, left or broke off', async () => {
    const stays = [await join(), await join()];
    const [leaves, breaksOff, comesAgain, joinsTwice] = [
      await join(),
      await join(),
      await join(),
      await join(),
    ];
    const delivery = frames.deliver(ROOM, 'update', 'first');
    delivery.next();
    const comes = await join();
    void leaves.socket.leave(ROOM);
    breaksOff.client.disconnect();
    await once(breaksOff.socket, 'disconnect');
    void comesAgain.socket.leave(ROOM);
    frames.join(comesAgain.socket, ROOM);
    frames.join(joinsTwice.socket, ROOM);
    while (!delivery.next().done);
    send('second');
    for (const [watchers, updates] of [
      [stays, ['first', 'second']],
      [[comes, comesAgain, joinsTwice], ['second']],
      [[leaves], []],
    ] as const) {
      for (const watcher of watchers) {
        await settled(watcher);
        expect(watcher.heard).to.deep.equal([...updates.map((update) => ['update', update]), ['last']]);
      }
    }
    expect(breaksOff.heard).to.deep.equal([]);
  });

  it('has nobody to send to in a room that does not exist', () => {
    expect(frames.deliver('board:none:all', 'update', 1).next().done).to.equal(true);
  });
});
