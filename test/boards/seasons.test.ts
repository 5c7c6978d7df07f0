import { expect } from 'chai';
import { spanOf } from '../../common/periods.ts';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { Queues, type CompletionJob } from '../../common/queues.ts';
import { createLogger } from '../../common/logger.ts';
import { closeRedis, createRedis, untilReady, type Redis } from '../../common/redis.ts';
import { closePeriods } from '../../workers/maintenance/close-periods.ts';
import { administrator } from '../support/administrator.ts';
import { eventually } from '../support/eventually.ts';
import { testSignatures } from '../support/jobs.ts';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

const DAY_MS = 86_400_000;

describe('seasons', () => {
  const stores = useStores();
  const system = useSystem(stores);
  const api = (): string => system.api[0]!.url;
  const log = createLogger('test', 'silent');
  const today = spanOf('daily', Date.now()).startsAt;
  const yesterday = new Date(today - 1).toISOString().slice(0, 10);
  let db: Database;
  let redis: Redis;
  let queues: Queues;

  before(async () => {
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 4 }, 'test');
    redis = createRedis(stores.redis.url, 'commands', log);
    await untilReady(redis, 5000);
    queues = new Queues(redis, 8);
  });
  after(async () => {
    await queues.close();
    await closeRedis(redis);
    await db.destroy();
  });

  /** An action whose completion was accepted at an instant, and reaches the worker only now. */
  async function acceptedAt(player: Player, at: number, before?: Answer): Promise<void> {
    const started = before ?? (await player.start(api(), 'COMPLETE_TASK', 'game1'));
    const [row] = await db('actions').where({ id: started.body.actionId }).select('token_hash');
    await queues.enqueueCompletion(
      testSignatures.sign<CompletionJob>({
        kind: 'completion',
        actionId: started.body.actionId,
        userId: player.userId,
        acceptedAt: at,
        tokenHash: row.token_hash.toString('hex'),
        ip: null,
        userAgent: null,
        replyTo: 'test',
      }),
    );
    await eventually(async () => {
      const action = await call(api(), 'GET', `/actions/${started.body.actionId}`, { token: player.token });
      expect(action.body.status).to.equal('completed');
    });
  }

  it('counts in yesterday what was accepted yesterday and is applied today, and freezes it once', async () => {
    const [late, early] = [await Player.join(api()), await Player.join(api())];
    await acceptedAt(late, today - 100);
    await acceptedAt(early, today - DAY_MS / 2);
    await late.play(api(), 'COMPLETE_QUEST', 'game1');

    const read = async (query: string) => (await call(api(), 'GET', `/leaderboards/game1?${query}`)).body;
    const names = (body: any) => body.entries.map(({ userId, score }: any) => [userId, score]);
    const expected = [
      [early.userId, 10],
      [late.userId, 10],
    ];
    expect(names(await read(`period=daily&date=${yesterday}`))).to.deep.equal(expected);
    expect(names(await read('period=daily'))).to.deep.equal([[late.userId, 50]]);
    expect(names(await read('period=all'))).to.deep.equal([
      [late.userId, 60],
      [early.userId, 10],
    ]);

    const close = () => closePeriods({ db, redis, queues, log, most: 1000 });
    const closed = await Promise.all([close(), close(), close()]);
    const periods = await db('board_periods').whereNotNull('archived_at').select('id', 'total');
    // The workers' own closer may have been quicker with some of them.
    expect(closed.reduce((sum, { archived }) => sum + archived, 0)).to.be.at.most(periods.length);
    const standings = await db('standings')
      .join('board_periods', 'board_periods.id', 'board_period_id')
      .where({ leaderboard: 'game1', period: 'daily' })
      .orderBy('rank')
      .select('rank', 'user_id');
    expect(standings).to.deep.equal([
      { rank: 1, user_id: early.userId },
      { rank: 2, user_id: late.userId },
    ]);

    await eventually(async () => {
      const archived = await read(`period=daily&date=${yesterday}`);
      expect(names(archived)).to.deep.equal(expected);
      expect(archived).to.include({ total: 2, period: 'daily' });
    });
    // What was accepted in time counts even when it arrives after the standings were frozen: they are corrected.
    await acceptedAt(early, today - 50);
    await eventually(async () =>
      expect(names(await read(`period=daily&date=${yesterday}`))).to.deep.equal([
        [early.userId, 20],
        [late.userId, 10],
      ]),
    );
    const { body } = await call(api(), 'GET', `/leaderboards/game1/users/${early.userId}`);
    expect(body.score).to.equal(20);
  });

  it('keeps as many places as it is told, the best, and counts all', async () => {
    const day = today - 5 * DAY_MS;
    const period = 'daily';
    const [{ id }] = await db('board_periods')
      .insert({ leaderboard: 'game2', period, starts_at: new Date(day), ends_at: new Date(day + DAY_MS) })
      .returning('id');
    const names = ['fifty', 'ten', 'thirty', 'twenty'];
    await db('users').insert(names.map((name) => ({ id: name, username: name, username_key: name })));
    await db('scores').insert(
      [50, 10, 30, 20].map((score, i) => ({
        board_period_id: id,
        user_id: names[i],
        score,
        reached_at: new Date(day + i),
      })),
    );
    await db.raw('select close_board_period(?, ?)', [id, day + DAY_MS]);
    await db.raw('select archive_board_period(?, 2)', [id]);
    const date = new Date(day).toISOString().slice(0, 10);
    const { body } = await call(api(), 'GET', `/leaderboards/game2?period=daily&date=${date}`);
    expect([body.state, body.total]).to.deep.equal(['archived', 4]);
    expect(body.entries.map(({ userId, score }: any) => [userId, score])).to.deep.equal([
      ['fifty', 50],
      ['thirty', 30],
    ]);
    const path = `/leaderboards/game2?period=daily&date=${date}&limit=1`;
    const first = await call(api(), 'GET', path);
    const second = await call(api(), 'GET', `${path}&cursor=${first.body.nextCursor}`);
    expect([first, second].map(({ body: page }) => page.entries[0].userId)).to.deep.equal([
      'fifty',
      'thirty',
    ]);
  });

  it('waits with closing for what was accepted and is not applied', async () => {
    const player = await Player.join(api());
    const day = today - 3 * DAY_MS;
    await acceptedAt(player, day + 1000);
    const waiting = {
      action_id: 'waits',
      user_id: player.userId,
      payload: '{}',
      accepted_at: new Date(day + 2000),
      enqueued_at: new Date(Date.now() + DAY_MS),
    };
    await db('queued_completions').insert(waiting);
    await db('board_periods')
      .where({ period: 'daily', starts_at: new Date(day) })
      .update({ archived_at: null, closed_at: null });
    await db('standings').delete();
    const { lateSeconds } = await closePeriods({ db, redis, queues, log, most: 1000 });
    expect(lateSeconds).to.be.above((2 * DAY_MS) / 1000);
    await queues.requestMaintenance('close', {});
    await eventually(async () => {
      const metrics = await (await fetch(`${system.workers[0]!.url}/metrics`)).text();
      const late = /^laurel_season_close_late_seconds(?:\{.*\})? (\d+)/m.exec(metrics)?.[1];
      expect(Number(late)).to.be.above((2 * DAY_MS) / 1000);
    });
    const open = () =>
      db('board_periods')
        .where({ period: 'daily', starts_at: new Date(day) })
        .whereNull('closed_at')
        .select('id');
    expect(await open()).to.have.length(2);
    await db('queued_completions').delete();
    await closePeriods({ db, redis, queues, log, most: 1000 });
    expect(await open()).to.have.length(0);
  });

  it('ends a season by hand: frozen as it stands, and the rest of the period counts no more', async () => {
    const admin = await administrator(stores.databaseUrl, api());
    const player = await Player.join(api());
    await player.play(api(), 'COMPLETE_QUEST', 'game2');
    const close = await call(api(), 'POST', '/admin/leaderboards/game2/close', {
      token: admin.token,
      body: { period: 'weekly' },
    });
    expect(close.status).to.equal(200);
    expect(close.body).to.include({ leaderboard: 'game2', period: 'weekly', places: 1 });
    const weekly = async () => (await call(api(), 'GET', '/leaderboards/game2?period=weekly')).body;
    await eventually(async () =>
      expect(await weekly()).to.include({ state: 'archived', closedAt: close.body.closedAt, total: 1 }),
    );
    await player.play(api(), 'COMPLETE_QUEST', 'game2');
    const score = async (period: string) =>
      (await call(api(), 'GET', `/leaderboards/game2/users/${player.userId}?period=${period}`)).body.score;
    expect([await score('weekly'), await score('all'), await score('daily')]).to.deep.equal([50, 100, 100]);

    const open = await player.start(api(), 'COMPLETE_QUEST', 'game2');
    const ended = await call(api(), 'POST', '/admin/leaderboards/game2/close', {
      token: admin.token,
      body: { period: 'all', reason: 'the season is over' },
    });
    expect(ended.body).to.include({ period: 'all', places: 1 });
    const late = await player.complete(api(), open.body);
    expect([late.status, late.body.code]).to.deep.equal([409, 'LEADERBOARD_CLOSED']);
    const board = async () => (await call(api(), 'GET', '/leaderboards/game2')).body;
    await eventually(async () => expect(await board()).to.include({ state: 'archived', total: 1 }));
    expect((await board()).entries[0].score).to.equal(100);
    expect(await score('all')).to.equal(100);
    const ledgerSum = async () =>
      Number(
        (await db('ledger').where({ user_id: player.userId, leaderboard: 'game2' }).sum('delta as n'))[0]![
          'n'
        ],
      );
    expect(await ledgerSum()).to.equal(100);

    // Open again, it goes on from the score that it had.
    const reopened = await call(api(), 'PATCH', '/admin/leaderboards/game2', {
      token: admin.token,
      body: { closesAt: null },
    });
    expect(reopened.status).to.equal(200);
    const played = await player.play(api(), 'COMPLETE_QUEST', 'game2');
    expect(played.body.score).to.deep.equal({ previous: 100, current: 150, delta: 50 });
    await eventually(async () => expect(await board()).to.include({ state: 'open', closedAt: null }));
    expect(
      await db('standings as s')
        .join('board_periods as b', 'b.id', 's.board_period_id')
        .where({ leaderboard: 'game2', period: 'all' }),
      'frozen standings',
    ).to.deep.equal([]);
    expect([await score('all'), await ledgerSum()]).to.deep.equal([150, 150]);
    const refused = await call(api(), 'POST', '/admin/leaderboards/global/close', {
      token: admin.token,
      body: { period: 'all' },
    });
    expect(refused.status).to.equal(400);
    const endOfGlobal = await call(api(), 'PATCH', '/admin/leaderboards/global', {
      token: admin.token,
      body: { closesAt: new Date().toISOString() },
    });
    expect(endOfGlobal.status).to.equal(400);
  });

  it('counts at a leaderboard’s end what was accepted before it, and nothing that came later', async () => {
    const admin = await administrator(stores.databaseUrl, api());
    const [player, other] = [await Player.join(api()), await Player.join(api())];
    const closesAt = new Date(Date.now() - 60_000);
    await call(api(), 'PATCH', '/admin/leaderboards/game1', { token: admin.token, body: { closesAt: null } });
    const started = [
      await player.start(api(), 'COMPLETE_TASK', 'game1'),
      await other.start(api(), 'COMPLETE_TASK', 'game1'),
    ];
    await db('leaderboards').where({ key: 'game1' }).update({ closes_at: closesAt });
    try {
      await acceptedAt(player, closesAt.getTime() - 1, started[0]);
      const late = await other.complete(api(), started[1]!.body);
      expect([late.status, late.body.code]).to.deep.equal([409, 'LEADERBOARD_CLOSED']);
      await eventually(async () => {
        const { body } = await call(api(), 'GET', `/leaderboards/global/users/${player.userId}`);
        expect(body.score).to.equal(10);
      });
      const { body } = await call(api(), 'GET', `/leaderboards/global/users/${other.userId}`);
      expect(body).to.include({ score: 0, rank: null });
    } finally {
      await call(api(), 'PATCH', '/admin/leaderboards/game1', {
        token: admin.token,
        body: { closesAt: null },
      });
    }
  });

  it('leaves banned players out of archives, shows them again after the ban, and corrects archives', async () => {
    const admin = await administrator(stores.databaseUrl, api());
    const [cheater, honest, third] = [
      await Player.join(api()),
      await Player.join(api()),
      await Player.join(api()),
    ];
    const day = today - 9 * DAY_MS;
    const date = new Date(day).toISOString().slice(0, 10);
    for (const [i, player] of [cheater, cheater, honest, third].entries()) await acceptedAt(player, day + i);
    await eventually(
      async () => {
        const rows = await db('board_periods')
          .where({ leaderboard: 'game1', period: 'daily', starts_at: new Date(day) })
          .whereNotNull('archived_at');
        expect(rows).to.have.length(1);
      },
      { timeoutMs: 30_000 },
    );
    const read = async () => (await call(api(), 'GET', `/leaderboards/game1?period=daily&date=${date}`)).body;
    const places = (body: any) => body.entries.map((e: any) => [e.rank, e.userId, e.score]);
    const standing = async (player: Player) =>
      (
        await call(
          api(),
          'GET',
          `/leaderboards/game1/users/${player.userId}?period=daily&date=${date}&neighbors=1`,
        )
      ).body;
    const whole = [
      [1, cheater.userId, 20],
      [2, honest.userId, 10],
      [3, third.userId, 10],
    ];
    await eventually(async () => {
      expect(places(await read())).to.deep.equal(whole);
      expect(await read()).to.include({ state: 'archived', total: 3 });
    });
    expect(await standing(third)).to.include({ rank: 3, usersAbove: 2, usersBelow: 0, total: 3, score: 10 });

    const ban = `/admin/users/${cheater.userId}/ban`;
    await call(api(), 'POST', ban, { token: admin.token, body: { reason: 'cheating' } });
    await eventually(async () => {
      const body = await read();
      expect(places(body)).to.deep.equal([
        [1, honest.userId, 10],
        [2, third.userId, 10],
      ]);
      expect(body.total).to.equal(2);
    });
    const below = await standing(third);
    expect(below).to.include({ rank: 2, usersAbove: 1, total: 2 });
    expect(below.neighbors.map((e: any) => [e.rank, e.userId])).to.deep.equal([
      [1, honest.userId],
      [2, third.userId],
    ]);
    expect(await standing(cheater)).to.include({ rank: null, score: 0 });
    const first = (await call(api(), 'GET', `/leaderboards/game1?period=daily&date=${date}&limit=1`)).body;
    const second = await call(
      api(),
      'GET',
      `/leaderboards/game1?period=daily&date=${date}&limit=1&cursor=${first.nextCursor}`,
    );
    expect(places(second.body)).to.deep.equal([[2, third.userId, 10]]);
    const ranks = await call(api(), 'POST', `/leaderboards/game1/ranks?period=daily&date=${date}`, {
      body: { userIds: [third.userId, cheater.userId] },
    });
    expect(ranks.body.ranks.map((r: any) => r.rank)).to.deep.equal([2, null]);

    await call(api(), 'DELETE', ban, { token: admin.token });
    await eventually(async () => expect(places(await read())).to.deep.equal(whole));
    const entries = await db('ledger').where({ user_id: cheater.userId }).pluck('id');
    for (const id of entries) {
      const undone = await call(api(), 'POST', `/admin/transactions/${id}/rollback`, {
        token: admin.token,
        body: { reason: 'cheated' },
      });
      expect([200, 202], JSON.stringify(undone.body)).to.include(undone.status);
    }
    await eventually(async () => {
      const body = await read();
      expect(places(body)).to.deep.equal([
        [1, honest.userId, 10],
        [2, third.userId, 10],
      ]);
      expect(body.correctedAt).to.be.a('string');
    });
    expect(await standing(cheater)).to.include({ rank: null, score: 0, percentile: null });
  });

  it('refuses dates and cursors that do not go with the board', async () => {
    const [a, b] = [await Player.join(api()), await Player.join(api())];
    for (const player of [a, b]) await player.play(api(), 'COMPLETE_TASK', 'game1');
    const status = async (path: string): Promise<number> =>
      (await call(api(), 'GET', `/leaderboards/${path}`)).status;
    await eventually(async () => {
      const { body } = await call(api(), 'GET', '/leaderboards/game1?period=daily&limit=1');
      expect(body.nextCursor).to.be.a('string');
    });
    const { nextCursor } = (await call(api(), 'GET', '/leaderboards/game1?period=daily&limit=1')).body;
    const now = new Date().toISOString().slice(0, 10);
    expect(await status(`game1?period=daily&cursor=${nextCursor}`)).to.equal(200);
    expect(await status(`game1?period=daily&date=${now}&cursor=${nextCursor}`)).to.equal(200);
    expect(await status(`game2?period=daily&cursor=${nextCursor}`)).to.equal(400);
    expect(await status(`game1?period=weekly&cursor=${nextCursor}`)).to.equal(400);
    expect(await status(`game1?period=daily&date=${yesterday}&cursor=${nextCursor}`)).to.equal(400);
    for (const [query, expected] of [
      ['period=weekly&date=1969-12-28', 400],
      ['period=weekly&date=1970-01-01', 400],
      ['period=weekly&date=1970-01-05', 200],
      ['period=daily&date=1970-01-01', 200],
      ['period=daily&date=9999-12-31', 400],
      ['period=daily&date=9999-12-30', 200],
      ['period=monthly&date=9999-12-01', 400],
      ['period=all&date=2026-01-01', 400],
      [`period=daily&date=2026-02-30`, 400],
    ] as const) {
      for (const path of ['game1?', `game1/users/${a.userId}?`])
        expect(await status(`${path}${query}`), `${path}${query}`).to.equal(expected);
      const ranks = await call(api(), 'POST', `/leaderboards/game1/ranks?${query}`, {
        body: { userIds: [a.userId] },
      });
      expect(ranks.status, `ranks ${query}`).to.equal(expected);
    }
  });
});
