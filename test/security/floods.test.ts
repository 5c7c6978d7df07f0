import { createServer, type Server } from 'node:http';
import { Writable } from 'node:stream';
import { expect } from 'chai';
import { createApi, type Api } from '../../api/create-api.ts';
import { loadConfig } from '../../common/config.ts';
import { closeServer, listen } from '../../common/health.ts';
import { createLogger } from '../../common/logger.ts';
import { call, Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { environmentOf, seed } from '../support/system.ts';

describe('floods of refused requests', function () {
  this.timeout(60_000);
  const stores = useStores();
  const lines: { event?: string; leftOut?: number }[] = [];
  let app: Api;
  let server: Server;
  let url: string;

  before(async () => {
    await seed(stores.databaseUrl);
    const config = loadConfig(environmentOf(stores, { RATE_LIMIT_IP_PER_MINUTE: '60' }));
    const stream = new Writable({
      write(chunk, _encoding, done) {
        lines.push(JSON.parse(String(chunk)) as (typeof lines)[number]);
        done();
      },
    });
    app = await createApi(config, createLogger('api', 'info', stream));
    server = createServer(app.handle);
    url = `http://127.0.0.1:${await listen(server, 0, '127.0.0.1', 'PORT')}`;
  });
  after(() => closeServer(server, 100));

  it('become a few lines and a count, and 429 for tokens that are not accepted; genuine ones go on', async () => {
    const player = await Player.join(url);
    const statuses: number[] = [];
    for (let i = 0; i < 100; i += 1) {
      const answer = await call(url, 'GET', '/users/me', { token: `x${i}.y.z` });
      statuses.push(answer.status);
      if (answer.status === 429) {
        expect(answer.body.code).to.equal('RATE_LIMITED');
        expect(Number(answer.headers['retry-after'])).to.be.within(1, 60);
      }
    }
    expect(statuses.slice(0, 60).every((status) => status === 401)).to.equal(true);
    expect(statuses.slice(60).every((status) => status === 429)).to.equal(true);
    expect((await call(url, 'GET', '/users/me', { token: player.token })).status).to.equal(200);

    const of = (event: string) => lines.filter((line) => line.event === event && line.leftOut === undefined);
    expect(of('access_token_refused')).to.have.length(5);
    expect(of('limit_breached')).to.have.length(5);
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).to.match(/laurel_security_events_total\{event="access_token_refused",tier="api"\} 60/);
    await app.close();
    const left = (event: string) =>
      lines.find((line) => line.event === event && line.leftOut !== undefined)?.leftOut;
    expect(left('access_token_refused')).to.equal(55);
    expect(left('limit_breached')).to.equal(35);
  });
});

describe('AVATAR_HOSTS', function () {
  this.timeout(60_000);
  const stores = useStores();
  let app: Api;
  let server: Server;
  let url: string;
  before(async () => {
    await seed(stores.databaseUrl);
    const config = loadConfig(environmentOf(stores, { AVATAR_HOSTS: 'cdn.example.org' }));
    app = await createApi(config, createLogger('api', 'fatal'));
    server = createServer(app.handle);
    url = `http://127.0.0.1:${await listen(server, 0, '127.0.0.1', 'PORT')}`;
  });
  after(async () => {
    await app.close();
    await closeServer(server, 100);
  });

  it('lets avatars be on these hosts only, in profiles and on pages', async () => {
    const player = await Player.join(url);
    const set = (avatarUrl: string | null) =>
      call(url, 'PATCH', '/users/me', { token: player.token, body: { avatarUrl } });
    expect((await set('https://cdn.example.org/a.png')).status).to.equal(200);
    for (const other of [
      'https://evil.example/a.png',
      'https://cdn.example.org.evil.example/a.png',
      'https://cdn.example.org@evil.example/a.png',
      'https://cdn.example.org:8443/a.png',
    ]) {
      const refused = await set(other);
      expect([refused.status, refused.body.code], other).to.deep.equal([400, 'INVALID_REQUEST']);
    }
    expect((await set(null)).status).to.equal(200);
    const page = await fetch(`${url}/docs`);
    expect(page.headers.get('content-security-policy')).to.match(
      /img-src 'self' data: https:\/\/cdn\.example\.org(;|$)/,
    );
  });
});
