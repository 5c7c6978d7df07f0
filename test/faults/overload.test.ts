import { expect } from 'chai';
import { after, before } from 'mocha';
import { newId } from '../../common/ids.ts';
import { createDatabase } from '../../common/postgres.ts';
import { ensureUser } from '../../common/seed.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores, type Stores } from '../support/stores.ts';
import { startTier, useSystem, type RunningTier } from '../support/system.ts';
import { Crowd, withDatabase } from './crowd.ts';

const patience = { timeoutMs: 20_000 };
const PASSWORD = 'correct horse battery';

/** A metric of a tier, by the labels in the order in which they are written. */
async function metric(tier: string, name: string): Promise<number> {
  const text = await (await fetch(`${tier}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(name));
  if (line === undefined) throw new Error(`no metric ${name}`);
  return Number(line.split(' ').at(-1));
}

function expectShed(answer: Answer): void {
  expect(answer.status).to.equal(503);
  expect(answer.body).to.include({ code: 'UNAVAILABLE', status: 503 });
  expect(answer.headers['content-type']).to.include('application/problem+json');
  expect(Number(answer.headers['retry-after'])).to.be.within(1, 5);
  expect(answer.headers['cache-control']).to.equal('no-store');
}

async function administrator(stores: Stores, api: string): Promise<string> {
  const db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
  await ensureUser(db, 'operator', PASSWORD, 'admin').finally(() => db.destroy());
  return (await Player.signIn(api, 'operator', PASSWORD)).token;
}

describe('more completions than the workers can do', function () {
  this.timeout(120_000);
  const stores = useStores();
  const env = { QUEUE_PARTITIONS: '2', SHED_BACKLOG_MS: '20', SHED_REQUESTS: '0', SHED_LOOP_DELAY_MS: '0' };
  const system = useSystem(stores, { env, clientSigned: true });
  const api = (): string => system.api[0]!.url;
  const started: RunningTier[] = [];
  after(() => Promise.all(started.map((tier) => tier.stop())));

  it('sheds new starts, lets completions of started actions through, and loses none', async () => {
    const crowd = await Crowd.of(150, stores, 'many');
    const player = await Player.join(api());
    const operator = await administrator(stores, api());
    const start = (userId: string): Promise<Answer> =>
      call(api(), 'POST', '/actions', { token: crowd.token(userId), body: { type: 'COMPLETE_TASK' } });
    const complete = (userId: string, action: { actionId: string; actionToken: string }): Promise<Answer> =>
      call(api(), 'POST', `/actions/${action.actionId}/complete`, {
        token: crowd.token(userId),
        body: { actionToken: action.actionToken },
        headers: { prefer: 'respond-async' },
      });
    const underWay = await Promise.all(
      crowd.userIds.map(async (userId) => ({ userId, action: (await start(userId)).body })),
    );
    const spare = (await player.start(api())).body;

    await system.workers[0]!.stop();
    for (const { userId, action } of underWay) {
      const answer = await complete(userId, action);
      expect(answer.status).to.equal(202);
      crowd.log.push({ userId, actionId: action.actionId, status: 202, body: answer.body });
    }
    // How long they have waited is asked again and again; from then on no start is let in.
    await eventually(async () =>
      expect(await metric(api(), 'laurel_load_ratio{signal="backlog"')).to.be.above(4),
    );
    for (const { userId } of underWay.slice(0, 20)) expectShed(await start(userId));
    expectShed(await player.completeSigned(api(), newId()));
    // Completions get through, and requests that do not feed the queues go on.
    expect((await player.complete(api(), spare, { prefer: 'respond-async' })).status).to.equal(202);
    expect((await call(api(), 'GET', '/leaderboards/global')).status).to.equal(200);
    expect((await call(api(), 'GET', '/actions', { token: player.token })).status).to.equal(200);
    expect((await call(api(), 'GET', '/admin/features', { token: operator })).status).to.equal(200);
    expect((await fetch(`${api()}/readyz`)).status).to.equal(200);
    expect(await metric(api(), 'laurel_shed_requests_total{class="start"')).to.be.at.least(20);
    expect(await metric(api(), 'laurel_shed_requests_total{class="completion"')).to.equal(0);

    started.push(await startTier('workers', stores, env));
    await eventually(async () => expect((await start(crowd.userIds[0]!)).status).to.equal(201), patience);
    await crowd.expectAgreement();
    await eventually(async () => {
      const { body } = await call(api(), 'GET', `/actions/${spare.actionId}`, { token: player.token });
      expect(body.status).to.equal('completed');
    }, patience);
  });

  it('says in the workers’ metrics how long the oldest has waited', async () => {
    const worker = started[0]!.url;
    const players = await Crowd.of(20, stores, 'held');
    const oldest = (): Promise<number[]> =>
      Promise.all([0, 1].map((n) => metric(worker, `laurel_queue_oldest_seconds{queue="completions-${n}"`)));
    await withDatabase(stores, (db) =>
      db.transaction(async (trx) => {
        await trx.raw('lock table scores in exclusive mode');
        for (const userId of players.userIds)
          await players.playOne(api(), userId, { prefer: 'respond-async' });
        let before = [0, 0];
        for (let growth = 0; growth < 3; growth += 1) {
          before = await eventually(async () => {
            const now = await oldest();
            now.forEach((age, n) => expect(age).to.be.above(before[n]!));
            return now;
          });
          // Those that come behind it do not make it any younger.
          for (const userId of players.userIds)
            await players.playOne(api(), userId, { prefer: 'respond-async' });
          (await oldest()).forEach((age, n) => expect(age).to.be.above(before[n]!));
        }
      }),
    );
    await players.expectAgreement();
    await eventually(async () => expect(await oldest()).to.deep.equal([0, 0]));
  });
});

describe('more requests than an API process can serve', function () {
  this.timeout(120_000);
  const stores = useStores();
  const THRESHOLD = 4;
  const env = {
    SHED_REQUESTS: String(THRESHOLD),
    SHED_LOOP_DELAY_MS: '0',
    SHED_BACKLOG_MS: '0',
    DATABASE_POOL_MAX: '20',
    CORS_ORIGINS: 'https://game.example',
  };
  const system = useSystem(stores, { env, clientSigned: true });
  const api = (): string => system.api[0]!.url;
  let player: Player;
  let friend: Player;
  let operator: string;
  before(async () => {
    player = await Player.join(api());
    friend = await Player.join(api());
    operator = await administrator(stores, api());
  });

  it('sheds reads without a token first, then other reads and starts, and recovers', async () => {
    const anonymousRead = (): Promise<Answer> => call(api(), 'GET', '/leaderboards/global');
    const ownRead = (): Promise<Answer> =>
      call(api(), 'GET', '/leaderboards/global', { token: player.token });
    const befriend = (): Promise<Answer> =>
      call(api(), 'PUT', `/users/me/friends/${friend.userId}`, { token: player.token });
    const load = async (expected: number): Promise<void> => {
      await eventually(async () =>
        expect(await metric(api(), 'laurel_load_ratio{signal="requests"')).to.equal(expected / THRESHOLD),
      );
    };
    const spare = (await player.start(api())).body;
    const held: Promise<Answer>[] = [];
    await withDatabase(stores, (db) =>
      db.transaction(async (trx) => {
        // Friendships wait to be written down, and nothing else does.
        await trx.raw('lock table friends in share mode');
        const hold = (count: number): void => {
          for (let i = 0; i < count; i += 1) held.push(befriend());
        };
        hold(1.5 * THRESHOLD);
        await load(1.5 * THRESHOLD);
        // A burst would be over soon: what lasts is overload.
        await eventually(async () => expectShed(await anonymousRead()));
        // A page of another origin may read when to come again.
        const headers = { origin: 'https://game.example' };
        const shed = await call(api(), 'GET', '/leaderboards/global', { headers });
        expectShed(shed);
        expect(shed.headers['access-control-allow-origin']).to.equal('https://game.example');
        expect(shed.headers['access-control-expose-headers']).to.include('Retry-After');
        expect((await ownRead()).status).to.equal(200);
        expectShed(await call(api(), 'GET', '/leaderboards'));
        expect((await call(api(), 'GET', '/leaderboards', { token: player.token })).status).to.equal(200);

        // Of others less and less are let in, up to twice the threshold.
        hold(100);
        await load(2 * THRESHOLD);
        expectShed(await anonymousRead());
        expectShed(await ownRead());
        expectShed(await player.start(api()));
        // The next ones are refused below the application, with the same words; one of another origin is not.
        const start = async (origin?: string): Promise<Answer> => {
          const answer = await call(api(), 'POST', '/actions', {
            token: player.token,
            body: { type: 'COMPLETE_TASK' },
            headers: { 'x-request-id': 'one-of-very-many', ...(origin !== undefined && { origin }) },
          });
          expectShed(answer);
          expect(answer.headers['x-request-id']).to.equal('one-of-very-many');
          return { ...answer, headers: { ...answer.headers, date: '', 'retry-after': '' } };
        };
        const fromElsewhere = await start('https://elsewhere.example');
        expect(fromElsewhere.headers['vary']).to.equal('Origin');
        const below = await start();
        expect({ ...below, headers: { ...below.headers, vary: 'Origin' } }).to.deep.equal(fromElsewhere);
        const fromAPage = await start('https://game.example');
        expect(fromAPage.headers['access-control-allow-origin']).to.equal('https://game.example');
        const shedStarts = 'laurel_shed_requests_total{class="start"';
        const answered =
          'laurel_http_request_duration_seconds_count{tier="api",method="POST",route="/api/v1/actions",status="503"';
        expect(await metric(api(), shedStarts)).to.equal(await metric(api(), answered));
        const preflight = await fetch(`${api()}/api/v1/leaderboards/global`, { method: 'OPTIONS' });
        expect(preflight.status).to.equal(204);
        expect((await call(api(), 'GET', '/admin/features', { token: operator })).status).to.equal(200);
        expect((await fetch(`${api()}/readyz`)).status).to.equal(200);
        expect((await player.complete(api(), spare)).status).to.equal(200);
      }),
    );
    const answers = await Promise.all(held);
    const admitted = answers.filter(({ status }) => status < 300);
    expect(admitted).to.have.length(2 * THRESHOLD);
    answers.filter((answer) => !admitted.includes(answer)).forEach(expectShed);
    await load(0);
    expect((await anonymousRead()).status).to.equal(200);
    expect((await befriend()).status).to.equal(admitted[0]!.status);
    expect((await player.play(api())).status).to.equal(200);
  });
});
