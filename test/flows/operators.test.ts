import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { Queue } from 'bullmq';
import { expect } from 'chai';
import { after, before } from 'mocha';
import { createLogger } from '../../common/logger.ts';
import { createDatabase } from '../../common/postgres.ts';
import { partitionQueue } from '../../common/queues.ts';
import { closeRedis, createRedis, untilReady } from '../../common/redis.ts';
import { DEFAULT_REDIS_PREFIX } from '../../common/redis-names.ts';
import { ensureUser } from '../../common/seed.ts';
import { UserDirectory } from '../../common/users/user-directory.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { startTier, useSystem } from '../support/system.ts';

const PASSWORD = 'an operator’s pass phrase';
/** Bull Board's page, a file of it, what reads queues, and what changes them. */
const bullBoard = [
  ['GET', ''],
  ['GET', '/'],
  ['GET', '/queue/completions-0'],
  ['GET', '/static/favicon.ico'],
  ['GET', '/api/queues'],
  ['GET', '/api/queues?activeQueue=maintenance&status=failed'],
  ['GET', '/api/redis/stats'],
  ['GET', '/api/queues/completions-0/1'],
  ['PUT', '/api/queues/pause'],
  ['PUT', '/api/queues/completions-0/pause'],
  ['PUT', '/api/queues/completions-0/empty'],
  ['PUT', '/api/queues/completions-0/obliterate'],
  ['PUT', '/api/queues/completions-0/retry/failed'],
  ['PUT', '/api/queues/completions-0/1/retry'],
  ['POST', '/api/queues/completions-0/add'],
] as const;

describe('operators', () => {
  const stores = useStores();
  const system = useSystem(stores, { realtime: 1 });
  const api = (): string => system.api[0]!.url;
  const ask = (method: string, path: string, headers: Record<string, string> = {}): Promise<Answer> =>
    call(api(), method, `/${path}`, { headers });
  const submit = (form: Record<string, string>, headers: Record<string, string> = {}, url = api()) =>
    fetch(`${url}/admin/sign-in`, {
      method: 'POST',
      body: new URLSearchParams(form),
      redirect: 'manual',
      headers,
    });

  let player: Player;
  let queue: Queue;
  /** the session of an administrator who has signed in with the form */
  let cookie: string;

  before(async () => {
    const db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
    await ensureUser(db, 'operator', PASSWORD, 'admin');
    await db.destroy();
    player = await Player.join(api());
    queue = new Queue(partitionQueue(0), {
      connection: { url: stores.redis.url },
      prefix: DEFAULT_REDIS_PREFIX,
    });
    const response = await submit({ username: 'operator', password: PASSWORD });
    cookie = (response.headers.get('set-cookie') ?? '').split(';')[0]!;
  });
  after(() => queue.close());

  describe('sign-in', () => {
    it('is asked for at /admin', async () => {
      const { status, body, headers } = await ask('GET', '/admin');
      expect(status).to.equal(200);
      expect(body).to.include('<form method="post" action="/admin/sign-in">');
      expect(headers['cache-control']).to.equal('no-store');
      const style = /href="([^"]+)"/.exec(body)?.[1];
      expect((await ask('GET', style!)).headers['content-type'], style).to.match(/^text\/css/);
    });

    it('is refused to a page of another site, also to one whose browser names no origin', async () => {
      for (const site of ['cross-site', 'same-site']) {
        const response = await submit(
          { username: 'operator', password: PASSWORD },
          { 'sec-fetch-site': site },
        );
        expect(response.status, site).to.equal(403);
        expect(response.headers.getSetCookie(), site).to.deep.equal([]);
      }
    });

    it('gives an administrator a cookie that no script reads and no other site sends', async () => {
      const response = await submit({ username: 'operator', password: PASSWORD });
      expect([response.status, response.headers.get('location')]).to.deep.equal([303, '/admin']);
      const set = response.headers.getSetCookie();
      expect(set).to.have.length(1);
      const attributes = set[0]!
        .toLowerCase()
        .split('; ')
        .slice(1)
        .filter((one) => !one.startsWith('expires'));
      expect(attributes).to.have.members(['path=/admin', 'httponly', 'samesite=strict']);

      const production = await startTier('api', stores, { NODE_ENV: 'production' });
      try {
        const secure = await submit({ username: 'operator', password: PASSWORD }, {}, production.url);
        expect(secure.headers.get('set-cookie')).to.match(/; secure/i);
      } finally {
        await production.stop();
      }
    });

    it('is for administrators with the right password only', async () => {
      for (const form of [
        { username: 'operator', password: 'wrong' },
        { username: 'nobody', password: PASSWORD },
        { username: player.username, password: 'correct horse battery' },
        { username: '', password: '' },
        {},
      ]) {
        const response = await submit(form as Record<string, string>);
        expect(response.status, JSON.stringify(form)).to.be.within(400, 403);
        expect(response.headers.get('set-cookie')).to.equal(null);
        expect(await response.text()).not.to.include(PASSWORD);
      }
    });

    it('refuses what comes from another site’s page', async () => {
      for (const headers of [
        { origin: 'https://evil.example' },
        { origin: 'null' },
        { referer: 'https://evil.example/page' },
        { origin: `${api()}.evil.example` },
      ]) {
        const signIn = await submit(
          { username: 'operator', password: PASSWORD },
          headers as Record<string, string>,
        );
        expect(signIn.status, JSON.stringify(headers)).to.equal(403);
        expect(signIn.headers.get('set-cookie')).to.equal(null);
        const pause = await ask('PUT', '/admin/queues/api/queues/pause', { cookie, ...headers });
        expect([pause.status, pause.body.code]).to.deep.equal([403, 'FORBIDDEN']);
      }
      expect(await queue.isPaused()).to.equal(false);
      expect((await submit({ username: 'operator', password: PASSWORD }, { origin: api() })).status).to.equal(
        303,
      );
    });

    it('takes a form whose page has no origin to name, if the browser says that the page is ours', async () => {
      const form = { username: 'operator', password: PASSWORD };
      const own = { origin: 'null', 'sec-fetch-site': 'same-origin' };
      expect((await submit(form, own)).status).to.equal(303);
      const foreign = { origin: 'null', 'sec-fetch-site': 'cross-site' };
      expect((await submit(form, foreign)).status).to.equal(403);
    });

    it('works behind a proxy that ends TLS', async () => {
      const proxied = await startTier('api', stores, { NODE_ENV: 'production', TRUSTED_PROXIES: '1' });
      try {
        const form = { username: 'operator', password: PASSWORD };
        const through = (origin: string): Record<string, string> => ({
          origin,
          'x-forwarded-for': '203.0.113.7',
          'x-forwarded-proto': 'https',
          'x-forwarded-host': 'laurel.example',
        });
        const signedIn = await submit(form, through('https://laurel.example'), proxied.url);
        expect(signedIn.status).to.equal(303);
        expect(signedIn.headers.get('location')).to.match(/^\/admin/);
        expect((await submit(form, through('https://evil.example'), proxied.url)).status).to.equal(403);
      } finally {
        await proxied.stop();
      }
    });

    it('leads to no other site afterwards', async () => {
      const lead = async (next: string): Promise<string | null> =>
        (await submit({ username: 'operator', password: PASSWORD, next })).headers.get('location');
      expect(await lead('/admin/queues/queue/completions-3?status=failed')).to.equal(
        '/admin/queues/queue/completions-3?status=failed',
      );
      for (const next of [
        'https://evil.example',
        '//evil.example',
        '/admin/../x',
        '/administer',
        '/admin\\evil',
      ])
        expect(await lead(next), next).to.equal('/admin');
    });

    it('holds for as long as the account is an administrator’s', async () => {
      const db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
      const redis = createRedis(stores.redis.url, 'commands', createLogger('test', 'silent'));
      try {
        await untilReady(redis, 5000);
        const directory = new UserDirectory(db, redis);
        await ensureUser(db, 'demoted', PASSWORD, 'admin');
        const signedIn = await submit({ username: 'demoted', password: PASSWORD });
        const mine = (signedIn.headers.get('set-cookie') ?? '').split(';')[0]!;
        expect((await ask('GET', '/admin/queues/', { cookie: mine })).status).to.equal(200);
        const [row] = await db('users')
          .where({ username: 'demoted' })
          .update({ role: 'player', updated_at: new Date() })
          .returning('id');
        await directory.changed(row.id);
        await eventually(async () =>
          expect((await ask('GET', '/admin/queues/', { cookie: mine })).status).to.be.oneOf([401, 403]),
        );
      } finally {
        await Promise.all([db.destroy(), closeRedis(redis)]);
      }
    });

    it('ends with sign-out, for every copy of the cookie', async () => {
      const signedIn = await submit({ username: 'operator', password: PASSWORD });
      const own = (signedIn.headers.get('set-cookie') ?? '').split(';')[0]!;
      expect((await ask('GET', '/admin/queues/', { cookie: own })).status).to.equal(200);
      const response = await fetch(`${api()}/admin/sign-out`, {
        method: 'POST',
        redirect: 'manual',
        headers: { cookie: own },
      });
      expect((await ask('GET', '/admin/queues/api/queues', { cookie: own })).status).to.equal(401);
      const copy = { authorization: `Bearer ${own.slice('laurel_admin='.length)}` };
      expect((await ask('GET', '/admin/queues/api/queues', copy)).status).to.equal(401);
      expect((await ask('GET', '/api/v1/admin/features', copy)).status).to.equal(401);
      expect(response.status).to.equal(303);
      expect(response.headers.get('set-cookie')).to.match(
        /^laurel_admin=; path=\/admin; expires=Thu, 01 Jan 1970/,
      );
    });
  });

  describe('Bull Board', () => {
    for (const [method, path] of bullBoard) {
      it(`does nothing for others: ${method} ${path}`, async () => {
        const address = `/admin/queues${path}`;
        const nobody = await ask(method, address, { accept: 'application/json' });
        expect([nobody.status, nobody.body.code]).to.deep.equal([401, 'UNAUTHENTICATED']);
        for (const wrong of ['laurel_admin=nonsense', `${cookie}x`, `laurel_admin=${player.refreshToken}`]) {
          const { status, body } = await ask(method, address, { cookie: wrong, accept: 'application/json' });
          expect([status, body.code], wrong).to.deep.equal([401, 'UNAUTHENTICATED']);
        }
        for (const mine of [
          { authorization: `Bearer ${player.token}` },
          { cookie: `laurel_admin=${player.token}` },
        ] as Record<string, string>[]) {
          const { status, body } = await ask(method, address, { accept: 'application/json', ...mine });
          expect([status, body.code]).to.deep.equal([403, 'FORBIDDEN']);
        }
        if (method !== 'GET') return;
        const browser = await ask(method, address, { accept: 'text/html' });
        expect(browser.status).to.equal(401);
        expect(browser.body)
          .to.include('Sign in')
          .and.not.to.match(/bull|completions/i);
      });
    }

    it('tells a signed-in administrator of an address where nothing is, and asks for no sign-in', async () => {
      const page = await ask('GET', '/admin/nosuch', { cookie, accept: 'text/html' });
      expect(page.status).to.equal(404);
      expect(page.body).to.include('There is nothing at').and.not.to.include('<form');
    });

    it('shows every queue to an administrator', async () => {
      const page = await ask('GET', '/admin/queues', { cookie, accept: 'text/html' });
      expect(page.status).to.equal(200);
      for (const [, file] of [...String(page.body).matchAll(/(?:src|href)="([^"]+\.(?:js|css))"/g)].slice(
        0,
        2,
      )) {
        const path = new URL(file!, `${api()}/admin/queues/`).pathname;
        expect((await ask('GET', path, { cookie })).status, path).to.equal(200);
      }
      const { body } = await ask('GET', '/admin/queues/api/queues', { cookie });
      expect(body.queues.map(({ name }: { name: string }) => name)).to.include.members([
        ...Array.from({ length: 8 }, (_, i) => partitionQueue(i)),
        'maintenance',
      ]);
    });

    it('does nothing but retry failed jobs, for administrators too', async () => {
      const base = '/admin/queues/api/queues';
      const job = `${base}/completions-0/kept`;
      await queue.add('completion', { kind: 'no such kind' }, { jobId: 'kept', delay: 600_000 });
      const before = await queue.getJobCounts();
      for (const [method, path] of [
        ['PUT', `${base}/pause`],
        ['PUT', `${base}/resume`],
        ...['pause', 'resume', 'empty', 'obliterate', 'promote', 'concurrency', 'rate-limit'].map(
          (what) => ['PUT', `${base}/completions-0/${what}`] as const,
        ),
        ['PUT', `${base}/completions-0/rate-limit/release`],
        ...['failed', 'delayed', 'completed'].map(
          (state) => ['PUT', `${base}/completions-0/clean/${state}`] as const,
        ),
        ['PUT', `${base}/completions-0/retry/completed`],
        ['POST', `${base}/completions-0/add`],
        ...['retry', 'clean', 'promote', 'remove-unprocessed-children'].map(
          (what) => ['PUT', `${job}/${what}`] as const,
        ),
        ...['update-data', 'delay', 'priority'].map((what) => ['PATCH', `${job}/${what}`] as const),
        ['PUT', `${base}/maintenance/job-schedulers/reconcile/remove`],
        ['PUT', `${base}/maintenance/job-schedulers/reconcile/run`],
        ['PATCH', `${base}/maintenance/job-schedulers/reconcile`],
        ['DELETE', job],
        ['POST', '/admin/queues/api/metrics/history/purge'],
      ] as const) {
        const { status, body } = await ask(method, path, { cookie, origin: api() });
        expect([status, body.code], `${method} ${path}`).to.deep.equal([403, 'FORBIDDEN']);
      }
      expect(await queue.getJobCounts()).to.deep.equal(before);
      expect(await queue.isPaused()).to.equal(false);
      expect(await queue.getGlobalConcurrency()).to.equal(1);
      expect((await queue.getJob('kept'))?.opts.delay).to.equal(600_000);
      await queue.remove('kept');
    });

    it('retries a failed job', async () => {
      const job = await queue.add('completion', { kind: 'no such kind' }, { jobId: 'poison' });
      const finished = await eventually(async () => {
        const failed = await queue.getJob(job.id!);
        expect(failed?.failedReason).to.be.a('string');
        expect(await failed!.isFailed()).to.equal(true);
        return failed!.finishedOn!;
      });
      const list = await ask('GET', '/admin/queues/api/queues?activeQueue=completions-0&status=failed', {
        cookie,
      });
      const shown = list.body.queues.find(({ name }: { name: string }) => name === 'completions-0');
      expect(shown.jobs.map(({ id }: { id: string }) => id)).to.include('poison');
      const retried = await ask('PUT', '/admin/queues/api/queues/completions-0/poison/retry', {
        cookie,
        origin: api(),
      });
      expect(retried.status).to.be.within(200, 204);
      await eventually(async () => {
        const again = await queue.getJob(job.id!);
        expect(again?.finishedOn).to.be.above(finished);
        expect(await again!.isFailed()).to.equal(true);
      });
      const all = await ask('PUT', '/admin/queues/api/queues/completions-0/retry/failed', { cookie });
      expect(all.status).to.equal(200);
      const db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
      const lines = await db('audit_log').where({ action: 'job.retry' }).orderBy('id');
      await db.destroy();
      expect(lines.map(({ subject, details }) => [subject, details])).to.deep.equal([
        ['poison', { queue: 'completions-0', jobs: ['poison'] }],
        [null, { queue: 'completions-0', jobs: ['poison'] }],
      ]);
      // A poison job holds nobody up.
      expect((await player.play(api())).status).to.equal(200);
    });
  });

  it('warns of a queue that somebody paused', async () => {
    const workers = system.workers[0]!.url;
    await queue.pause();
    try {
      await eventually(
        async () => {
          const { status, body } = await call(workers, 'GET', '//readyz');
          expect([status, body.warnings?.length]).to.deep.equal([200, 1]);
          expect(body.warnings[0]).to.include('completions-0 is paused');
          expect((await call(workers, 'GET', '//metrics')).body).to.match(
            /^laurel_queue_paused\{queue="completions-0",tier="workers"\} 1$/m,
          );
        },
        { timeoutMs: 15_000 },
      );
    } finally {
      await queue.resume();
    }
    await eventually(
      async () => expect((await call(workers, 'GET', '//readyz')).body).not.to.have.property('warnings'),
      { timeoutMs: 15_000 },
    );
  }).timeout(40_000);

  it('tells of each tier that it is alive, that it can serve, and its figures', async () => {
    for (const [tier, { url }] of [
      ['api', system.api[0]!],
      ['workers', system.workers[0]!],
      ['realtime', system.realtime[0]!],
    ] as const) {
      const alive = await call(url, 'GET', '//healthz');
      expect([alive.status, alive.body], tier).to.deep.equal([200, { status: 'alive' }]);
      const ready = await call(url, 'GET', '//readyz');
      expect([ready.status, ready.body.status], tier).to.deep.equal([200, 'ready']);
      expect(new Set(Object.values(ready.body.checks)), tier).to.deep.equal(new Set([true]));
      const { headers, body } = await call(url, 'GET', '//metrics');
      expect(headers['content-type'], tier).to.match(/^text\/plain/);
      expect(body, tier)
        .to.match(/^process_cpu_user_seconds_total/m)
        .and.to.match(/^laurel_\w+/m);
    }
  });

  it('says that it cannot serve while Redis is away, and yet is alive', async () => {
    await stores.redis.shutdown();
    try {
      for (const { url } of [...system.api, ...system.workers, ...system.realtime]) {
        await eventually(async () => {
          const { status, body } = await call(url, 'GET', '//readyz');
          expect([status, body.status, body.checks.redis]).to.deep.equal([503, 'not ready', false]);
        });
        expect((await call(url, 'GET', '//healthz')).status).to.equal(200);
      }
    } finally {
      await stores.redis.restart();
    }
    await eventually(
      async () => {
        for (const { url } of [...system.api, ...system.workers, ...system.realtime])
          expect((await call(url, 'GET', '//readyz')).status).to.equal(200);
      },
      { timeoutMs: 15_000 },
    );
  });

  describe('the API’s description', () => {
    let document: any;
    let operations: { path: string; method: string; operation: any }[];

    before(async () => {
      ({ body: document } = await ask('GET', '/openapi.json'));
      operations = Object.entries<any>(document.paths).flatMap(([path, methods]) =>
        Object.entries<any>(methods).map(([method, operation]) => ({ path, method, operation })),
      );
    });

    it('is valid OpenAPI 3.1', async () => {
      expect(document.openapi).to.match(/^3\.1\./);
      const { valid, errors } = await new Validator().validate(structuredClone(document));
      expect(valid, JSON.stringify(errors, null, 2)).to.equal(true);
      const ids = operations.map(({ operation }) => operation.operationId);
      expect(new Set(ids).size, 'operation ids are unique').to.equal(ids.length);
      // Every reference leads somewhere.
      for (const [, name] of JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g))
        expect(document.components.schemas).to.have.property(name!);
    });

    it('lists what clients rely on', () => {
      const listed = operations.map(({ path, method }) => `${method.toUpperCase()} ${path}`);
      expect(listed).to.include.members(
        [
          'POST /auth/register',
          'POST /auth/login',
          'POST /auth/refresh',
          'POST /auth/logout',
          'POST /actions',
          'GET /actions',
          'GET /actions/{actionId}',
          'POST /actions/{actionId}/complete',
          'POST /actions/{actionId}/cancel',
          'POST /completions',
          'GET /leaderboards',
          'GET /leaderboards/{key}',
          'GET /leaderboards/{key}/users/{userId}',
          'POST /leaderboards/{key}/ranks',
          'GET /users/me',
          'GET /users/{userId}',
        ].map((route) => route.replace(' ', ' /api/v1')),
      );
    });

    it('describes nothing that is not there, and says rightly what needs a token', async () => {
      for (const { path, method, operation } of operations) {
        if (path.endsWith('/stream')) continue; // the realtime tier answers it; see test/live/streams.test.ts
        const address = path.replaceAll(/\{\w+\}/g, 'global');
        const { status, body } = await ask(method.toUpperCase(), address, { accept: 'application/json' });
        const name = `${method} ${path}: ${status} ${body?.code}`;
        expect(body?.code, name).not.to.be.oneOf(['NOT_FOUND', 'METHOD_NOT_ALLOWED', 'INTERNAL_ERROR']);
        const needsToken =
          operation.security.length > 0 &&
          operation.security.every((one: object) => Object.keys(one).length > 0);
        if (needsToken) expect([status, body.code], name).to.deep.equal([401, 'UNAUTHENTICATED']);
        if (body?.code !== undefined) expect(operation.responses, name).to.have.property(String(status));
      }
    });

    it('says what answers look like', async () => {
      const ajv = new Ajv2020({ strict: false, allErrors: true });
      formats.default(ajv);
      ajv.addSchema(document, 'openapi');
      const check = (operationId: string, { status, body, headers }: Answer): void => {
        const { path, method } = operations.find(({ operation }) => operation.operationId === operationId)!;
        const type = String(headers['content-type']).split(';')[0]!;
        const pointer = ['paths', path, method, 'responses', String(status), 'content', type, 'schema']
          .map((part) => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1')))
          .join('/');
        const matches = ajv.compile({ $ref: `openapi#/${pointer}` });
        expect(matches(body), `${operationId} ${status}: ${JSON.stringify(matches.errors)}`).to.equal(true);
      };
      const { token } = player;
      const started = await player.start(api());
      check('startAction', started);
      const completed = await player.complete(api(), started.body);
      check('completeAction', completed);
      check('completeAction', await player.complete(api(), started.body));
      check('getAction', await call(api(), 'GET', `/actions/${started.body.actionId}`, { token }));
      check('listActions', await call(api(), 'GET', '/actions', { token }));
      check('startAction', await player.start(api(), 'NO_SUCH_TYPE'));
      check('listLeaderboards', await call(api(), 'GET', '/leaderboards'));
      check('getLeaderboard', await call(api(), 'GET', '/leaderboards/global'));
      check('getLeaderboard', await call(api(), 'GET', '/leaderboards/global?period=daily'));
      check('getLeaderboard', await call(api(), 'GET', '/leaderboards/global?limit=0'));
      check('getLeaderboard', await call(api(), 'GET', '/leaderboards/nosuch'));
      check('getStanding', await call(api(), 'GET', '/leaderboards/global/users/me?neighbors=2', { token }));
      check('getStanding', await call(api(), 'GET', '/leaderboards/game2/users/me', { token }));
      check('getMe', await call(api(), 'GET', '/users/me', { token }));
      check('getUser', await call(api(), 'GET', `/users/${player.userId}`));
      const body = { username: player.username, password: 'correct horse battery' };
      check('login', await call(api(), 'POST', '/auth/login', { body }));
      check('login', await call(api(), 'POST', '/auth/login', { body: { ...body, password: 'wrong' } }));
    });
  });

  it('is shown to people at /docs', async () => {
    const { body } = await ask('GET', '/docs');
    for (const [, path] of String(body).matchAll(/(?:src|href)="(?!data:)([^"]+)"/g))
      expect((await ask('GET', path!)).status, path).to.equal(200);
  });
});
