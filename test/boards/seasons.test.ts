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
import { call, Player } from '../support/player.ts';
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
  async function acceptedAt(player: Player, at: number): Promise<void> {
    const started = await player.start(api(), 'COMPLETE_TASK', 'game1');
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

    const close = () => closePeriods({ db, queues, log, most: 1000 });
    const closed = await Promise.all([close(), close(), close()]);
    const periods = await db('board_periods').whereNotNull('archived_at').select('id', 'total');
    // The workers' own closer may have been quicker with some of them.
    expect(closed.reduce((sum, n) => sum + n, 0)).to.be.at.most(periods.length);
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
    await closePeriods({ db, queues, log, most: 1000 });
    const open = () =>
      db('board_periods')
        .where({ period: 'daily', starts_at: new Date(day) })
        .whereNull('closed_at')
        .select('id');
    expect(await open()).to.have.length(2);
    await db('queued_completions').delete();
    await closePeriods({ db, queues, log, most: 1000 });
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
    expect(close.status).to.equal(202);
    await eventually(async () => {
      const rows = await db('board_periods')
        .where({ leaderboard: 'game2', period: 'weekly' })
        .whereNotNull('archived_at');
      expect(rows).to.have.length(1);
    });
    await player.play(api(), 'COMPLETE_QUEST', 'game2');
    const score = async (period: string) =>
      (await call(api(), 'GET', `/leaderboards/game2/users/${player.userId}?period=${period}`)).body.score;
    expect([await score('weekly'), await score('all'), await score('daily')]).to.deep.equal([50, 100, 100]);

    await call(api(), 'POST', '/admin/leaderboards/game2/close', {
      token: admin.token,
      body: { period: 'all' },
    });
    await eventually(async () =>
      expect((await player.start(api(), 'COMPLETE_TASK', 'game2')).body.code).to.equal('LEADERBOARD_CLOSED'),
    );
    const refused = await call(api(), 'POST', '/admin/leaderboards/global/close', {
      token: admin.token,
      body: { period: 'all' },
    });
    expect(refused.status).to.equal(400);
  });
});
