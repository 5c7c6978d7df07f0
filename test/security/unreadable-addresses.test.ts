import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import { before, beforeEach } from 'mocha';
import { eventually } from '../support/eventually.ts';
import { Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

describe('what any client may send', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores, { processes: true });
  let output = '';
  let port = 0;
  let token = '';

  before(async () => {
    const { url, process } = system.api[0]!;
    port = Number(new URL(url).port);
    for (const stream of [process?.stdout, process?.stderr])
      stream?.on('data', (data: Buffer) => (output += data.toString()));
    ({ token } = await Player.join(url));
  });

  beforeEach(() => {
    output = '';
  });

  /** Lines of the log that tell of a fault of this side. */
  const faults = (): string[] => output.split('\n').filter((line) => /"level":"(error|fatal)"/.test(line));

  /** Whatever was logged of what came before has been written when this has ended. */
  async function expectNoFault(): Promise<void> {
    expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).to.equal(200);
    expect(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()).to.match(
      /laurel_uncaught_errors_total\S* 0\n/,
    );
    expect(faults()).to.deep.equal([]);
  }

  for (const [address, status] of [
    ['/.%2e/x', 404],
    ['/..%2f..%2fetc/passwd', 404],
    ['/docs/..%5c..%2fpackage.json', 404],
    ['/docs/%2e%2e%2f%2e%2e%2fx', 404],
    ['/%00', 400],
    ['/docs/%00', 400],
    ['/%zz', 400],
    ['/docs/%', 400],
    ['/api/v1/nothing/%zz', 400],
    ['http://[:::/api', 400],
    ['http://[', 400],
    ['http://%zz/', 400],
  ] as const)
    for (const method of ['GET', 'HEAD', 'POST'])
      it(`${method} ${address} is answered ${status === 400 ? '400 or 404' : status}, as every refusal is`, async () => {
        const socket = connect(port, '127.0.0.1');
        socket.write(
          `${method} ${address} HTTP/1.1\r\nHost: laurel\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
        );
        const answer = await text(socket);
        const [head = '', body = ''] = answer.split('\r\n\r\n');
        expect(head).to.match(status === 400 ? /^HTTP\/1.1 40[04] / : /^HTTP\/1.1 404 /);
        expect(head).to.match(/\r\nX-Request-Id: [\w-]{36}\r\n/i);
        expect(head).to.match(/\r\nX-Content-Type-Options: nosniff\r\n/i);
        expect(head).to.match(/\r\nContent-Security-Policy: /i);
        expect(head).to.match(/\r\nContent-Type: application\/problem\+json/i);
        if (method !== 'HEAD')
          expect(JSON.parse(body)).to.include.keys('type', 'title', 'status', 'detail', 'code');
        await expectNoFault();
      });

  it('a connection that breaks while it is answered is no fault of this side', async () => {
    const get = (path: string, more = ''): string =>
      `GET ${path} HTTP/1.1\r\nHost: laurel\r\nAuthorization: Bearer ${token}\r\n${more}\r\n`;
    const wires = [
      get('/api/v1/users/me'),
      get('/api/v1/users/me').repeat(30),
      get('/openapi.json').repeat(30),
      get('/docs').repeat(30),
      `${get('/api/v1/users/me')}garbage`,
      `${get('/api/v1/users/me/export')}garbage`,
      get('/api/v1/users/me/export').repeat(10),
      'POST /api/v1/auth/login HTTP/1.1\r\nHost: laurel\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{',
    ];
    for (const wire of wires)
      for (const turns of [0, 1, 2, 5, 20, 100]) {
        const socket = connect(port, '127.0.0.1');
        socket.on('error', () => undefined);
        await once(socket, 'connect');
        await new Promise<void>((resolve) => socket.write(wire, () => resolve()));
        for (let i = 0; i < turns; i += 1) await turn();
        const closed = once(socket, 'close');
        socket.resetAndDestroy();
        await closed;
      }
    await eventually(expectNoFault);
    expect(output).not.to.include('answering failed');
  });
});
