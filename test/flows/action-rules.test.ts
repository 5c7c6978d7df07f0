import { createHmac } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { after, before } from 'mocha';
import { newId } from '../../common/ids.ts';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { administrator } from '../support/administrator.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { spawnTier, useSystem, type RunningTier } from '../support/system.ts';

const OPEN = 3;

describe('what holds for an action', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores, { env: { MAX_OPEN_ACTIONS: String(OPEN) } });
  const api = (): string => system.api[0]!.url;
  let db: Database;
  let admin: Player;
  before(async () => {
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
    admin = await administrator(stores.databaseUrl, api());
  });
  after(() => db.destroy());

  const manage = (method: string, path: string, body: unknown): Promise<Answer> =>
    call(api(), method, `/admin${path}`, { token: admin.token, body });
  const define = async (key: string, terms: Record<string, unknown>): Promise<Answer> => {
    const made = await manage('POST', '/action-types', { key, title: key, points: 10, ...terms });
    expect(made.status, JSON.stringify(made.body)).to.equal(201);
    return made;
  };
  const start = (player: Player, body: Record<string, unknown>, url = api()): Promise<Answer> =>
    call(url, 'POST', '/actions', { token: player.token, body });
  const sign = (
    player: Player,
    type: string,
    { url = api(), actionId = newId(), timestamp = new Date().toISOString() } = {},
  ): Promise<Answer> =>
    call(url, 'POST', '/completions', {
      token: player.token,
      body: {
        actionId,
        type,
        timestamp,
        signature: createHmac('sha256', player.signingKey)
          .update([actionId, type, 'global', timestamp].join('.'))
          .digest('hex'),
      },
    });
  const outcome = ({ status, body }: Answer): [number, string | undefined] => [status, body?.code];

  it('frees its place among the open ones when it is completed, and when it is cancelled', async () => {
    const player = await Player.join(api());
    const open: { actionId: string; actionToken: string }[] = [];
    for (let i = 0; i < OPEN; i += 1) open.push((await player.start(api())).body);
    expect(outcome(await player.start(api()))).to.deep.equal([429, 'TOO_MANY_OPEN_ACTIONS']);
    expect((await player.complete(api(), open[0]!)).status).to.equal(200);
    const next = await player.start(api());
    expect(next.status).to.equal(201);
    expect(next.headers['location']).to.equal(`/api/v1/actions/${next.body.actionId}`);
    expect(outcome(await player.start(api()))).to.deep.equal([429, 'TOO_MANY_OPEN_ACTIONS']);
    await call(api(), 'POST', `/actions/${open[1]!.actionId}/cancel`, { token: player.token });
    expect((await player.start(api())).status).to.equal(201);
  });

  it('is worth what the catalog says, on every leaderboard that a new installation has', async () => {
    const { body: catalog } = await call(api(), 'GET', '/action-types');
    const { body: boards } = await call(api(), 'GET', '/leaderboards');
    for (const type of catalog.actionTypes) {
      const prices: [string | undefined, number][] = [
        [undefined, type.points],
        ...Object.entries<number>(type.difficulties),
      ];
      for (const [difficulty, points] of prices) {
        const player = await Player.join(api());
        for (const { key: leaderboard } of boards.leaderboards) {
          const metadata = difficulty === undefined ? {} : { difficulty };
          const { body } = await start(player, { type: type.key, leaderboard, metadata });
          expect(body.points, `${type.key}, ${difficulty}, ${leaderboard}`).to.equal(points);
        }
      }
    }
  });

  it('is worth at most what its board pays, and administrators are warned of prices beyond that', async () => {
    const made = await define('DEAR', { points: 100, difficulties: { hard: 1.5 } });
    expect(made.body.warnings).to.include(
      'DEAR, hard is worth 150 points, and the leaderboard global pays at most 100 an update.',
    );
    const player = await Player.join(api());
    const hard = await start(player, { type: 'DEAR', metadata: { difficulty: 'hard' } });
    expect(hard.body.points).to.equal(100);
    expect((await player.complete(api(), hard.body)).body.score.delta).to.equal(100);
    const dearer = await manage('PATCH', '/action-types/DEAR', { points: 300, difficulties: {} });
    expect(dearer.body.warnings).to.have.length(3);
    expect((await start(player, { type: 'DEAR' })).body.points).to.equal(100);
    const lowered = await manage('PATCH', '/leaderboards/game2', { maxPointsPerUpdate: 5 });
    expect(lowered.body.warnings).to.include(
      'COMPLETE_TASK is worth 10 points, and the leaderboard game2 pays at most 5 an update.',
    );
    expect((await start(player, { type: 'COMPLETE_TASK', leaderboard: 'game2' })).body.points).to.equal(5);
  });

  it('can be looked up with its price before it is played, by anybody', async () => {
    await define('LISTED', { points: 40, difficulties: { easy: 0.5, hard: 2 }, minDurationMs: 1000 });
    const { status, body } = await call(api(), 'GET', '/action-types');
    expect(status).to.equal(200);
    expect(body.actionTypes).to.deep.include({
      key: 'LISTED',
      title: 'LISTED',
      points: 40,
      difficulties: { easy: 20, hard: 80 },
      minDurationMs: 1000,
      leaderboards: null,
      clientSigned: false,
    });
  });

  it('may not be completed by the game’s own signature unless its type allows that', async () => {
    const player = await Player.join(api());
    expect(outcome(await sign(player, 'COMPLETE_TASK'))).to.deep.equal([403, 'CLIENT_SIGNING_OFF']);
    await define('SIGNED', { clientSigned: true });
    expect((await sign(player, 'SIGNED')).body.score.delta).to.equal(10);
    await manage('PATCH', '/action-types/SIGNED', { clientSigned: false });
    expect(outcome(await sign(player, 'SIGNED'))).to.deep.equal([403, 'CLIENT_SIGNING_OFF']);
  });

  it('takes its minimum duration, signed by the game as well, also after Redis has lost everything', async () => {
    await define('SLOW', { clientSigned: true, minDurationMs: 60_000 });
    await define('QUICK', { clientSigned: true });
    const player = await Player.join(api());
    const actionId = newId();
    expect((await sign(player, 'SLOW', { actionId })).status).to.equal(200);
    const again = await sign(player, 'SLOW');
    expect(outcome(again)).to.deep.equal([422, 'ACTION_TOO_FAST']);
    expect(Number(again.headers['retry-after'])).to.be.within(50, 60);
    expect(outcome(await sign(player, 'SLOW', { actionId }))).to.deep.equal([
      409,
      'ACTION_ALREADY_COMPLETED',
    ]);
    expect((await sign(player, 'QUICK')).status, 'another type').to.equal(200);
    await stores.redis.flush();
    expect(outcome(await sign(player, 'SLOW'))).to.deep.equal([422, 'ACTION_TOO_FAST']);
    const other = await Player.join(api());
    expect((await sign(other, 'SLOW')).status, 'another player').to.equal(200);
    const started = await start(other, { type: 'SLOW' });
    expect(outcome(await other.complete(api(), started.body))).to.deep.equal([422, 'ACTION_TOO_FAST']);
  });

  it('takes its minimum duration to the millisecond', async () => {
    await define('HALF_A_SECOND', { minDurationMs: 500 });
    const player = await Player.join(api());
    // Where this process was held up for half a second, nothing was refused, and it is tried again.
    await eventually(async () => {
      const started = await start(player, { type: 'HALF_A_SECOND' });
      const early = await player.complete(api(), started.body);
      if (early.status === 422)
        await call(api(), 'POST', `/actions/${started.body.actionId}/cancel`, { token: player.token });
      expect(outcome(early)).to.deep.equal([422, 'ACTION_TOO_FAST']);
    });
  });

  it('counts among the open ones while it is signed by the game', async () => {
    await define('SIGNED_TOO', { clientSigned: true });
    const player = await Player.join(api());
    for (let i = 0; i < OPEN; i += 1) expect((await player.start(api())).status).to.equal(201);
    expect(outcome(await sign(player, 'SIGNED_TOO'))).to.deep.equal([429, 'TOO_MANY_OPEN_ACTIONS']);
    const free = await Player.join(api());
    for (let i = 0; i <= OPEN; i += 1) expect((await sign(free, 'SIGNED_TOO')).status).to.equal(200);
  });

  it('keeps what the game says of its start and its completion, at most 1 KB each', async () => {
    const player = await Player.join(api());
    const metadata = { constructor: 'Ferrari', laps: [1, 2] };
    const started = await start(player, { type: 'COMPLETE_TASK', metadata });
    expect(started.status).to.equal(201);
    const path = `/actions/${started.body.actionId}`;
    const completionMetadata = { time: 83.2, constructor: 'Williams' };
    const body = { actionToken: started.body.actionToken, metadata: completionMetadata };
    expect((await call(api(), 'POST', `${path}/complete`, { token: player.token, body })).status).to.equal(
      200,
    );
    const read = await call(api(), 'GET', path, { token: player.token });
    expect([read.body.metadata, read.body.completionMetadata]).to.deep.equal([metadata, completionMetadata]);
    const listed = await call(api(), 'GET', '/actions', { token: player.token });
    expect(listed.body.actions[0].completionMetadata).to.deep.equal(completionMetadata);

    const largest = { note: 'x'.repeat(1024 - '{"note":""}'.length) };
    expect((await start(player, { type: 'COMPLETE_TASK', metadata: largest })).status).to.equal(201);
    const tooLarge = { note: `${largest.note}x` };
    expect(outcome(await start(player, { type: 'COMPLETE_TASK', metadata: tooLarge }))).to.deep.equal([
      400,
      'INVALID_REQUEST',
    ]);
    const umlauts = { note: 'ä'.repeat(600) };
    expect((await start(player, { type: 'COMPLETE_TASK', metadata: umlauts })).status, 'bytes').to.equal(400);
  });

  it('is not on a board before it opens or after it closes; what is a replay stays one', async () => {
    const opensAt = new Date(Date.now() + 2000).toISOString();
    expect((await manage('POST', '/leaderboards', { key: 'cup', title: 'Cup', opensAt })).status).to.equal(
      201,
    );
    const player = await Player.join(api());
    const onCup = { type: 'COMPLETE_TASK', leaderboard: 'cup' };
    expect(outcome(await start(player, onCup))).to.deep.equal([400, 'UNKNOWN_LEADERBOARD']);
    const [played, late] = await eventually(async () => {
      const both = [await start(player, onCup), await start(player, onCup)];
      expect(both.map(({ status }) => status)).to.deep.equal([201, 201]);
      return both as [Answer, Answer];
    });
    expect((await player.complete(api(), played.body)).status).to.equal(200);
    await manage('PATCH', '/leaderboards/cup', { closesAt: new Date(Date.now() - 1).toISOString() });
    expect(outcome(await start(player, onCup))).to.deep.equal([409, 'LEADERBOARD_CLOSED']);
    expect(outcome(await player.complete(api(), late.body))).to.deep.equal([409, 'LEADERBOARD_CLOSED']);
    expect(outcome(await player.complete(api(), played.body))).to.deep.equal([
      409,
      'ACTION_ALREADY_COMPLETED',
    ]);
    await eventually(async () => {
      const [row] = await db('completion_ranks').where({ action_id: played.body.actionId });
      expect(row).to.not.equal(undefined);
    });
    await stores.redis.flush();
    const replay = await player.complete(api(), played.body);
    expect([...outcome(replay), replay.body.result?.score.delta]).to.deep.equal([
      409,
      'ACTION_ALREADY_COMPLETED',
      10,
    ]);
  });

  it('is listed by status, page by page, none twice', async () => {
    const player = await Player.join(api());
    const ids: string[] = [];
    for (let i = 0; i < 5; i += 1) ids.push((await player.play(api())).body.actionId);
    const started = await player.start(api());
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const { body }: Answer = await call(
        api(),
        'GET',
        `/actions?status=completed&limit=2${cursor === null ? '' : `&cursor=${cursor}`}`,
        { token: player.token },
      );
      seen.push(...body.actions.map(({ actionId }: { actionId: string }) => actionId));
      cursor = body.nextCursor;
    } while (cursor !== null);
    expect(seen).to.deep.equal(ids.reverse());
    const open = await call(api(), 'GET', '/actions?status=started', { token: player.token });
    expect(open.body.actions.map(({ actionId }: { actionId: string }) => actionId)).to.deep.equal([
      started.body.actionId,
    ]);
  });

  describe('when the clocks of API processes are a minute apart', () => {
    let fast: RunningTier;
    let slow: RunningTier;
    before(async function () {
      this.timeout(90_000);
      const shifted = (ms: number): Promise<RunningTier> =>
        spawnTier('api', stores, {
          NODE_OPTIONS: '--import ./test/support/shifted-date.mjs',
          DATE_SHIFT_MS: String(ms),
          TZ: 'Asia/Kolkata',
        });
      [fast, slow] = await Promise.all([shifted(60_000), shifted(-60_000)]);
    });
    after(() => Promise.all([fast.stop(), slow.stop()]));

    it('takes its minimum duration, not more and not less', async () => {
      await define('TIMED', { minDurationMs: 3000 });
      const player = await Player.join(api());
      for (const [from, to] of [
        [fast, slow],
        [slow, fast],
      ] as const) {
        const started = await eventually(async () => {
          const answer = await start(player, { type: 'TIMED' }, from.url);
          expect(answer.status).to.equal(201);
          return answer;
        });
        expect(outcome(await player.complete(to.url, started.body))).to.deep.equal([422, 'ACTION_TOO_FAST']);
        await delay(Math.max(0, Date.parse(started.body.startedAt) + 3000 - Date.now()));
        expect((await player.complete(to.url, started.body)).status).to.equal(200);
        expect(Math.abs(Date.parse(started.body.startedAt) - Date.now())).to.be.below(30_000);
      }
    });

    it('may be signed by the game with the right time, with a zone or in UTC without one', async () => {
      await define('ANY_ZONE', { clientSigned: true });
      const player = await Player.join(api());
      for (const { url } of [fast, slow]) {
        const now = new Date().toISOString();
        await eventually(async () =>
          expect((await sign(player, 'ANY_ZONE', { url, timestamp: now.slice(0, 19) })).status).to.equal(200),
        );
        const kolkata = `${new Date(Date.now() + 5.5 * 3_600_000).toISOString().slice(0, 19)}+05:30`;
        expect((await sign(player, 'ANY_ZONE', { url, timestamp: kolkata })).status).to.equal(200);
        const early = new Date(Date.now() - 290_000).toISOString();
        expect((await sign(player, 'ANY_ZONE', { url, timestamp: early })).status).to.equal(200);
      }
    });

    it('tells operators how far they are apart, and serves', async () => {
      for (const [tier, seconds] of [
        [fast, 60],
        [slow, -60],
      ] as const) {
        const ready = await fetch(`${tier.url}/readyz`);
        expect(ready.status).to.equal(200);
        expect(((await ready.json()) as { warnings: string[] }).warnings.join()).to.include(
          'Check that NTP runs',
        );
        const metrics = await (await fetch(`${tier.url}/metrics`)).text();
        const skew = Number(/^laurel_clock_skew_seconds(?:\{.*\})? (-?[\d.]+)/m.exec(metrics)?.[1]);
        expect(skew).to.be.within(seconds - 5, seconds + 5);
      }
      expect(((await (await fetch(`${api()}/readyz`)).json()) as { warnings?: string[] }).warnings).to.equal(
        undefined,
      );
    });
  });
});
