import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { before } from 'mocha';
import { administrator } from '../support/administrator.ts';
import { call, Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

const packers = { gzip: gzipSync, deflate: deflateSync, br: brotliCompressSync };
const CONNECTIONS = 40;
/** Of routes that are like others, every so many bytes. */
const STRIDE = 23;
/** Cut at every byte: what strangers reach, the hot path, and the operators' form. */
const everyByte =
  /^POST (\/admin\/sign-in|\/api\/v1\/(auth\/(register|login|refresh)|actions|actions\/[^/]+\/complete|completions)) /;

/** A request as it goes over the wire. */
const written = (method: string, path: string, headers: Record<string, string>, body?: Buffer): Buffer =>
  Buffer.concat([
    Buffer.from(
      `${method} ${path} HTTP/1.1\r\nHost: laurel\r\n${Object.entries(headers)
        .map(([name, value]) => `${name}: ${value}\r\n`)
        .join('')}\r\n`,
    ),
    body ?? Buffer.alloc(0),
  ]);
const chunk = (data: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, Buffer.from('\r\n')]);

describe('no request ends a process', function () {
  this.timeout(120_000);
  const stores = useStores();
  const system = useSystem(stores, { processes: true, realtime: 1 });
  let output = '';
  let port = 0;
  let tokens: { player: string; admin: string };
  let paths: Record<string, Record<string, { requestBody?: unknown }>>;

  before(async () => {
    const { url, process } = system.api[0]!;
    port = Number(new URL(url).port);
    for (const stream of [process?.stdout, process?.stderr])
      stream?.on('data', (data: Buffer) => (output += data.toString()));
    const admin = await administrator(stores.databaseUrl, url);
    const player = await Player.join(url);
    tokens = { admin: admin.token, player: player.token };
    paths = (await call(url, 'GET', '//openapi.json')).body.paths;
  });

  /** Sends some bytes, and ends the connection in one of the two ways in which TCP can. */
  async function send(
    bytes: Buffer,
    ending: 'reset' | 'end',
    afterMs: number | 'the answer' = 0,
    to = port,
  ): Promise<void> {
    const socket: Socket = connect(to, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.resume();
    const closed = new Promise((resolve) => socket.once('close', resolve));
    await Promise.race([once(socket, 'connect'), closed]);
    if (bytes.length > 0) await new Promise<void>((resolve) => socket.write(bytes, () => resolve()));
    if (afterMs === 'the answer')
      await Promise.race([once(socket, 'data'), delay(5000, undefined, { ref: false })]);
    else if (afterMs > 0) await delay(afterMs);
    if (ending === 'reset') socket.resetAndDestroy();
    else {
      socket.end();
      await Promise.race([closed, delay(1)]);
      socket.destroy();
    }
    await closed;
  }

  async function sendAll(jobs: readonly (() => Promise<void>)[]): Promise<void> {
    const queue = [...jobs];
    const work = async (): Promise<void> => {
      for (let job = queue.pop(); job; job = queue.pop()) await job();
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, work));
  }

  async function expectAlive(): Promise<void> {
    for (const tier of [...system.api, ...system.realtime]) {
      expect(tier.process?.exitCode ?? tier.process?.signalCode, output.slice(-2000)).to.equal(null);
      expect((await fetch(`${tier.url}/healthz`)).status).to.equal(200);
      expect(await (await fetch(`${tier.url}/metrics`)).text()).to.match(
        /laurel_uncaught_errors_total\S* 0\n/,
      );
    }
    expect(output).not.to.match(/uncaught|not caught/i);
  }

  const sample = Buffer.from(
    JSON.stringify({
      username: 'somebody',
      password: 'correct horse',
      refreshToken: 'x',
      type: 'COMPLETE_TASK',
    }),
  );

  /** Every route of the API with its body, if it takes one. */
  function requests(): { head: [string, string, Record<string, string>]; body?: Buffer }[] {
    const routes = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods)
        .filter(([method]) => ['get', 'post', 'put', 'patch', 'delete'].includes(method))
        .map(([method, { requestBody }]) => {
          const concrete = path.replaceAll(/\{\w+\}/g, '0192a1b0-0000-7000-8000-000000000000');
          const authorization = `Bearer ${path.includes('/admin') ? tokens.admin : tokens.player}`;
          return {
            head: [method.toUpperCase(), concrete, { Authorization: authorization }] as [
              string,
              string,
              Record<string, string>,
            ],
            ...(requestBody !== undefined && { body: sample }),
          };
        }),
    );
    expect(routes.length).to.be.above(30);
    return routes;
  }

  it('cut at any byte, plain and packed, reset and ended', async () => {
    const form = Buffer.from('username=somebody&password=wrong&next=%2Fadmin');
    const formType = { 'Content-Type': 'application/x-www-form-urlencoded', Origin: 'http://laurel' };
    const json = { 'Content-Type': 'application/json' };
    const wires: Buffer[] = [
      written('POST', '/admin/sign-in', { ...formType, 'Content-Length': `${form.length}` }, form),
    ];
    for (const { head, body } of requests()) {
      const [method, path, headers] = head;
      if (!body) {
        wires.push(written(method, path, headers));
        continue;
      }
      wires.push(written(method, path, { ...headers, ...json, 'Content-Length': `${body.length}` }, body));
      const packed = chunk(brotliCompressSync(body));
      const chunked = { ...headers, ...json, 'Content-Encoding': 'br', 'Transfer-Encoding': 'chunked' };
      wires.push(written(method, path, chunked, Buffer.concat([packed, Buffer.from('0\r\n\r\n')])));
    }
    const jobs = wires.flatMap((wire) => {
      const step = everyByte.test(wire.subarray(0, 120).toString()) ? 1 : STRIDE;
      const headEnd = wire.indexOf('\r\n\r\n') + 4;
      const cuts = Array.from({ length: Math.floor(wire.length / step) }, (_, i) => i * step);
      // The token is long and each of its bytes like the others; around the body every byte may differ.
      return cuts
        .filter((at) => step > 1 || at < 60 || at > headEnd - 60 || at % 7 === 0)
        .map((at, i) => () => send(wire.subarray(0, at), i % 2 === 0 ? 'reset' : 'end'));
    });
    expect(jobs.length).to.be.above(2000);
    await sendAll(jobs);
    await expectAlive();
  });

  it('packed, with more behind the end of what was packed, and left open until it is reset', async () => {
    const jobs = ['/auth/login', '/auth/register', '/auth/refresh', '/actions', '/completions'].flatMap(
      (path) =>
        Object.entries(packers).flatMap(([encoding, pack]) =>
          ([0, 5, 30, 'the answer'] as const).flatMap((afterMs) =>
            [sample, sample.subarray(0, 20)].map((body) => () => {
              const garbage = Buffer.concat([pack(body), Buffer.from('trailing garbage')]);
              const headers = {
                Authorization: `Bearer ${tokens.player}`,
                'Content-Type': 'application/json',
                'Content-Encoding': encoding,
                'Transfer-Encoding': 'chunked',
              };
              return send(written('POST', `/api/v1${path}`, headers, chunk(garbage)), 'reset', afterMs);
            }),
          ),
        ),
    );
    await sendAll(jobs);
    await expectAlive();
  });

  it('of forms that no ordinary client sends', async () => {
    const headers = { 'Content-Type': 'application/json' };
    const post = (more: Record<string, string>, body: string): Buffer =>
      written('POST', '/api/v1/auth/login', { ...headers, ...more }, Buffer.from(body));
    const upgrade = { Connection: 'Upgrade', Upgrade: 'websocket' };
    const odd = [
      post({ Expect: '100-continue', 'Content-Length': '50' }, ''),
      post({ Expect: 'a miracle', 'Content-Length': '2' }, '{}'),
      post({ 'Transfer-Encoding': 'chunked' }, 'xyz\r\nnot a chunk'),
      post({ 'Transfer-Encoding': 'chunked' }, 'ffffffffffffffff\r\n'),
      post({ 'Transfer-Encoding': 'chunked', 'Content-Length': '5' }, '0\r\n\r\n'),
      post({ 'Content-Length': '-1' }, '{}'),
      Buffer.from('POST /api/v1/auth/login HTTP/1.0\r\n\r\n{}'),
      Buffer.from('GET / HTTP/1.0\r\n\r\n'),
      Buffer.from('GET\r\n\r\n'),
      Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]),
      written('GET', '/', { 'X-Huge': 'x'.repeat(100_000) }),
      written('CONNECT', 'example.org:443', {}),
      written('TRACE', '/', {}),
      written('GET', '/elsewhere', upgrade),
      written('GET', '/socket.io/?EIO=4&transport=websocket', upgrade),
      written('GET', '/socket.io/?EIO=4&transport=websocket', {
        ...upgrade,
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
      }),
      written('GET', '/api/v1/leaderboards/global/stream', {}),
      Buffer.concat(Array.from({ length: 50 }, () => written('GET', '/api/v1/leaderboards', {}))),
      Buffer.concat([post({ 'Content-Length': '2' }, '{}'), Buffer.from('garbage behind it')]),
    ];
    const ports = [port, Number(new URL(system.realtime[0]!.url).port)];
    await sendAll(
      odd.flatMap((bytes) =>
        ports.flatMap((to) =>
          ([0, 3, 20] as const).flatMap((afterMs) =>
            (['reset', 'end'] as const).map((ending) => () => send(bytes, ending, afterMs, to)),
          ),
        ),
      ),
    );
    await expectAlive();
  });
});
