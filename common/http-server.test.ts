import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { expect } from 'chai';
import { eventually } from '../test/support/eventually.ts';
import { createHttpServer } from './http-server.ts';

describe('createHttpServer', () => {
  it('keeps idle connections as long as it is told, and says so to clients', async () => {
    const server = createHttpServer((_request, response) => response.end('ok'), { KEEP_ALIVE_SECONDS: 75 });
    // AWS's load balancers keep theirs for 60 s: a server must not close first, nor while headers arrive.
    expect(server.keepAliveTimeout).to.equal(75_000);
    expect(server.headersTimeout).to.be.above(server.keepAliveTimeout);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
      expect(await answer.text()).to.equal('ok');
      expect(answer.headers.get('keep-alive')).to.equal('timeout=75');
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  it('has somebody to hear of a broken connection, as long as it lives', async () => {
    const server = createHttpServer(() => undefined, { KEEP_ALIVE_SECONDS: 75 });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
    const [socket] = await once(server, 'connection');
    socket.removeAllListeners('clientError');
    const own = socket.listeners('error').length;
    client.destroy();
    server.closeAllConnections();
    server.close();
    expect(own).to.be.above(1); // Node's own, and ours, which stays after an upgrade
  });

  it('takes requests that are sent behind each other one after the other, and no endless line of them', async () => {
    const answers: ServerResponse[] = [];
    const server = createHttpServer((_request, response) => void answers.push(response), {
      KEEP_ALIVE_SECONDS: 75,
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const open = (requests: number): Socket => {
      const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
      client.on('error', () => undefined);
      client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(requests));
      return client;
    };
    const client = open(3);
    try {
      let text = '';
      client.on('data', (data) => (text += data.toString()));
      for (const n of [1, 2, 3]) {
        await eventually(() => expect(answers).to.have.length(n));
        answers.at(-1)?.end(`answer ${n};`);
        await eventually(() => expect(text).to.include(`answer ${n};`));
      }
      const endless = open(1000);
      await once(endless.resume(), 'close');
      expect(answers).to.have.length(4);
    } finally {
      client.destroy();
      server.close();
    }
  });

  it('cuts a connection whose client takes no more of its answer', async () => {
    const server = createHttpServer(
      (_request, response) => response.end(Buffer.alloc(50_000_000)),
      { KEEP_ALIVE_SECONDS: 75 },
      200,
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1').pause();
    client.on('error', () => undefined);
    try {
      const [socket] = (await once(server, 'connection')) as [Socket];
      client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      await once(socket, 'close');
    } finally {
      client.destroy();
      server.close();
    }
  });
});
