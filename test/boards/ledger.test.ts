import { expect } from 'chai';
import fc from 'fast-check';
import { boardAt } from '../../common/board/board.ts';
import { periods, spanOf } from '../../common/periods.ts';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { replay } from '../../common/replay.ts';
import { Ledger, type AppliedCorrection } from '../../workers/completions/ledger.ts';
import { signedJob } from '../support/jobs.ts';
import { eventually } from '../support/eventually.ts';
import { runs } from '../support/runs.ts';
import { useStores } from '../support/stores.ts';
import { seed } from '../support/system.ts';

const boards = ['global', 'game1', 'game2'] as const;
const users = ['a', 'b'] as const;
const DAY_MS = 86_400_000;
/** The last second of a week and month, the next one, and a day after. */
const instants = [Date.UTC(2027, 0, 31, 23, 59, 59, 999), Date.UTC(2027, 1, 1), Date.UTC(2027, 1, 2, 12)];

type Step =
  | { do: 'complete'; batch: { user: string; board: string; points: number; at: number }[] }
  | { do: 'adjust'; user: string; board: string; delta: number; at: number }
  | { do: 'undo'; which: number }
  | { do: 'close'; board: string; period: (typeof periods)[number]; at: number; freeze: boolean }
  | { do: 'reopen'; board: string }
  | { do: 'ban' | 'unban' | 'erase'; user: string };

const user = fc.constantFrom(...users);
const board = fc.constantFrom(...boards);
const at = fc.constantFrom(...instants);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('complete' as const),
      batch: fc.array(fc.record({ user, board, points: fc.constantFrom(0, 10, 40, 100), at }), {
        minLength: 1,
        maxLength: 4,
      }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('adjust' as const),
      user,
      board,
      delta: fc.constantFrom(-1000, -30, 25, 5_000_000_000),
      at,
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('undo' as const), which: fc.nat(20) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('close' as const),
      board,
      period: fc.constantFrom(...periods),
      at,
      freeze: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reopen' as const), board }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constantFrom('ban' as const, 'unban' as const, 'erase' as const), user }),
  },
);

describe('the ledger and the scores', function () {
  this.timeout(600_000);
  const stores = useStores();
  let db: Database;
  let ledger: Ledger;
  let count = 0;

  before(async () => {
    await seed(stores.databaseUrl);
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
    ledger = new Ledger(db);
    await db('leaderboards').where({ key: 'game2' }).update({ score_cap: 60 });
  });
  after(() => db.destroy());

  const correct = (
    terms: { userId: string; at?: number } & ({ leaderboard: string; delta: number } | { reverses: string }),
  ): Promise<AppliedCorrection> =>
    ledger.correct({
      kind: 'correction',
      correction: 'delta' in terms ? 'adjustment' : 'rollback',
      transactionId: `t${(count += 1)}`,
      reason: 'test',
      actor: 'test',
      acceptedAt: terms.at ?? instants[0]!,
      replyTo: 'test',
      userId: terms.userId,
      ...('delta' in terms
        ? { leaderboard: terms.leaderboard, delta: terms.delta }
        : { reverses: terms.reverses }),
    });

  async function join(...names: string[]): Promise<string[]> {
    const ids = names.map((name) => `${name}${(count += 1)}`);
    await db('users').insert(ids.map((id) => ({ id, username: id, username_key: id })));
    return ids;
  }

  async function play(userId: string, points: number, leaderboard = 'game1', acceptedAt = instants[2]!) {
    const { items } = await ledger.apply([
      signedJob(userId, `c${(count += 1)}`, { points, leaderboard, acceptedAt }),
    ]);
    const [item] = items;
    if (!item || !('transactionId' in item)) throw new Error(`it did not count: ${item?.outcome}`);
    return item;
  }

  const scoresOf = async (userId: string): Promise<Record<string, [number, number]>> => {
    const rows = await db('scores')
      .join('board_periods as b', 'b.id', 'board_period_id')
      .where({ user_id: userId })
      .select('leaderboard', 'period', 'starts_at', 'score', 'reached_at');
    return Object.fromEntries(
      rows.map((row) => [
        `${row.leaderboard}:${row.period}:${row.starts_at.toISOString().slice(0, 10)}`,
        [Number(row.score), row.reached_at.getTime()],
      ]),
    );
  };

  async function idOf(leaderboard: string, period: (typeof periods)[number], time: number): Promise<number> {
    const span = spanOf(period, time);
    await db('board_periods')
      .insert({
        leaderboard,
        period,
        starts_at: new Date(span.startsAt),
        ends_at: span.endsAt === null ? null : new Date(span.endsAt),
      })
      .onConflict()
      .ignore();
    return (
      await db('board_periods')
        .where({ leaderboard, period, starts_at: new Date(span.startsAt) })
        .first('id')
    ).id;
  }

  async function perform(s: Step, ids: Record<string, string>, undoable: [string, string][]): Promise<void> {
    switch (s.do) {
      case 'complete': {
        const { items } = await ledger.apply(
          s.batch.map(({ user: name, board: leaderboard, points, at: acceptedAt }) =>
            signedJob(ids[name]!, `c${(count += 1)}`, { points, leaderboard, acceptedAt }),
          ),
        );
        for (const item of items)
          if ('transactionId' in item) undoable.push([item.userId, item.transactionId]);
        return;
      }
      case 'adjust': {
        const applied = await correct({
          userId: ids[s.user]!,
          leaderboard: s.board,
          delta: s.delta,
          at: s.at,
        });
        undoable.push([ids[s.user]!, applied.transactionId!]);
        return;
      }
      case 'undo': {
        const entry = undoable[s.which % Math.max(undoable.length, 1)];
        if (entry) await correct({ userId: entry[0], reverses: entry[1] });
        return;
      }
      case 'close': {
        const id = await idOf(s.board, s.period, s.at);
        if (s.board === 'global' && s.period === 'all') return;
        if (s.period === 'all')
          await db('leaderboards')
            .where({ key: s.board })
            .update({ closes_at: new Date(s.at) });
        await db.raw('select close_board_period(?, ?)', [id, s.at]);
        if (s.freeze) await db.raw('select archive_board_period(?, 0)', [id]);
        return;
      }
      case 'reopen':
        await db('leaderboards').where({ key: s.board }).update({ closes_at: null });
        await db.raw(`select open_leaderboard(?)`, [s.board]);
        return;
      default:
        await db('users')
          .where({ id: ids[s.user] })
          .update(
            s.do === 'erase' ? { erased_at: new Date() } : { banned_at: s.do === 'ban' ? new Date() : null },
          );
    }
  }

  async function openEverything(): Promise<void> {
    await db('leaderboards').update({ closes_at: null });
    await db.raw('update board_periods set closed_at = null, archived_at = null; delete from standings');
  }
  beforeEach(openEverything);

  it('agree after any history of completions, caps, closes, corrections, undos, bans and erasures', async () => {
    let histories = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), async (steps) => {
        histories += 1;
        const [a, b] = await join('a', 'b');
        const undoable: [string, string][] = [];
        await openEverything();
        for (const s of steps) await perform(s, { a: a!, b: b! }, undoable);
        // Frozen standings are those of the scores at any time.
        const { rows } = await db.raw<{ rows: unknown[] }>(
          `select 1 from board_periods bp join scores s on s.board_period_id = bp.id join users u on u.id = s.user_id
           left join standings f on f.board_period_id = bp.id and f.user_id = s.user_id
           where bp.archived_at is not null and s.user_id = any (:ids) and u.erased_at is null
             and (f.score is distinct from s.score or f.reached_at is distinct from s.reached_at)`,
          { ids: [a, b] },
        );
        expect(rows).to.deep.equal([]);
        expect(
          await db('scores')
            .whereIn('user_id', [a!, b!])
            .andWhere((q) => void q.where('score', 0)),
        ).to.deep.equal([]);
        // All users so far are replayed from time to time only: none of them changes any more.
        if (histories % 100 !== 0) return;
        const found = await replay(db);
        expect(found.differences).to.deep.equal([]);
        expect(found).to.include({ different: 0, unchecked: 0 });
      }),
      { numRuns: runs(1000) },
    );
    const found = await replay(db);
    expect(found.differences).to.deep.equal([]);
    expect(found.entries).to.be.above(2000);
  });

  it('are told apart by a replay: a score, a time, a row too many, an entry out of order', async () => {
    const [one, other, third] = await join('one', 'other', 'third');
    await play(one!, 10);
    await play(other!, 20);
    await play(third!, 20);
    await db('scores').where({ user_id: one }).update({ score: 11 });
    await db.raw(`update scores set reached_at = reached_at - interval '1 millisecond' where user_id = ?`, [
      other!,
    ]);
    await db('scores').where({ user_id: third }).delete();
    await db('scores').insert({
      user_id: third,
      board_period_id: await idOf('game2', 'all', 0),
      score: 5,
      reached_at: new Date(),
    });
    try {
      const found = await replay(db);
      const of = (id: string | undefined) => found.differences.filter(({ userId }) => userId === id);
      expect(of(one)).to.have.length(8);
      expect(of(one)[0]).to.deep.include({ ledger: [10, instants[2]], scores: [11, instants[2]] });
      expect(of(other)[0]!.scores).to.deep.equal([20, instants[2]! - 1]);
      expect(of(third)).to.have.length(9);
    } finally {
      await db('scores').whereIn('user_id', [one!, other!, third!]).delete();
      await db.raw('alter table ledger disable trigger user');
      await db('ledger').whereIn('user_id', [one!, other!, third!]).delete();
      await db.raw('alter table ledger enable trigger user');
    }
  });

  describe('when an entry is taken back', () => {
    it('give no place: a completion that was taken back before its rank was written down', async () => {
      const [player] = await join('p');
      const played = await play(player!, 10);
      await correct({ userId: player!, reverses: played.transactionId });
      await ledger.recordRanks([[played.actionId, null, 1, 1]]);
      expect(await db('achievements').where({ user_id: player })).to.deep.equal([]);
    });

    it('leave nothing, taken back one after the other', async () => {
      const [player] = await join('p');
      const entries = [await play(player!, 10), await play(player!, 20), await play(player!, 40)];
      for (const [entry, left] of [
        [entries[0]!, 60],
        [entries[1]!, 40],
        [entries[2]!, undefined],
      ] as const) {
        await correct({ userId: player!, reverses: entry.transactionId });
        expect((await scoresOf(player!))['game1:all:1970-01-01']?.[0]).to.equal(left);
      }
    });

    it('are as if it had never been: scores, periods, times and rows', async () => {
      const [player] = await join('p');
      await play(player!, 50, 'game1', instants[0]);
      const before = await scoresOf(player!);
      const extra = await play(player!, 30, 'game1', instants[2]);
      const undone = await correct({ userId: player!, reverses: extra.transactionId });
      expect(undone).to.include({ previous: 80, current: 50, delta: -30 });
      expect(await scoresOf(player!)).to.deep.equal(before);
      // Readers of the boards in Redis learn of rows that are gone.
      const daily = undone.boards.find(({ board: b }) => b.leaderboard === 'game1' && b.period === 'daily');
      expect(daily?.rows).to.deep.equal([[player, 0, 0, true]]);
    });

    it('leave no row behind a player’s only completion', async () => {
      const [player] = await join('p');
      const only = await play(player!, 50);
      await correct({ userId: player!, reverses: only.transactionId });
      expect(await scoresOf(player!)).to.deep.equal({});
    });

    it('give a deduction back where it took, and nowhere else', async () => {
      const [player] = await join('p');
      await play(player!, 100, 'game1', instants[0]);
      const before = await scoresOf(player!);
      const deducted = await correct({
        userId: player!,
        leaderboard: 'game1',
        delta: -1000,
        at: instants[2]!,
      });
      expect(deducted).to.include({ previous: 100, current: 0, delta: -100 });
      // January's boards keep what was earned in January; today's get no row.
      const after = await scoresOf(player!);
      expect(Object.keys(after).every((name) => name.includes('2027-01'))).to.equal(true);
      expect(Object.keys(after)).to.have.length(6);
      await correct({ userId: player!, reverses: deducted.transactionId! });
      expect(await scoresOf(player!)).to.deep.equal(before);
    });

    it('do not fall below what the live entries come to when an earlier one is taken back', async () => {
      const [player] = await join('p');
      const first = await play(player!, 100);
      await correct({ userId: player!, leaderboard: 'game1', delta: -50, at: instants[2]! });
      await play(player!, 30);
      // Without the first, 50 less of nothing is nothing, and 30 stand.
      const undone = await correct({ userId: player!, reverses: first.transactionId });
      expect(undone).to.include({ previous: 80, current: 30 });
    });

    it('give the place among ties back', async () => {
      const [first, second] = await join('p', 'p');
      await play(first!, 10, 'game1', instants[2]!);
      await play(second!, 10, 'game1', instants[2]! + 5);
      const given = await correct({
        userId: first!,
        leaderboard: 'game1',
        delta: 5,
        at: instants[2]! + 10,
      });
      await correct({ userId: first!, reverses: given.transactionId! });
      const times = [
        (await scoresOf(first!))['game1:all:1970-01-01'],
        (await scoresOf(second!))['game1:all:1970-01-01'],
      ];
      expect(times).to.deep.equal([
        [10, instants[2]],
        [10, instants[2]! + 5],
      ]);
    });

    it('correct closed periods too, and freeze their standings anew', async () => {
      const time = Date.UTC(2027, 4, 5, 12);
      const [cheater, honest] = await join('p', 'p');
      const cheated = await play(cheater!, 90, 'game1', time);
      await play(honest!, 40, 'game1', time);
      const id = await idOf('game1', 'daily', time);
      await db.raw('select close_board_period(?, ?)', [id, time + DAY_MS]);
      await db.raw('select archive_board_period(?, 1000)', [id]);
      await correct({ userId: cheater!, reverses: cheated.transactionId });
      const places = await db('standings').where({ board_period_id: id }).orderBy('rank').pluck('user_id');
      expect(places).to.deep.equal([honest]);
      const [period] = await db('board_periods').where({ id });
      expect(Number(period.total)).to.equal(1);
      expect(period.corrected_at).not.to.equal(null);
    });

    it('take back achievements, unless what is left reaches them', async () => {
      const [player] = await join('p');
      const keys = async () =>
        await db('achievements').where({ user_id: player }).orderBy('key').pluck('key');
      const first = await play(player!, 100);
      const second = await play(player!, 100);
      expect(await keys()).to.deep.equal(['score-100']);
      await correct({ userId: player!, reverses: first.transactionId });
      expect(await keys()).to.deep.equal(['score-100']);
      const last = await correct({ userId: player!, reverses: second.transactionId });
      expect(last.relocked).to.equal(true);
      expect(await keys()).to.deep.equal([]);
      await play(player!, 100);
      expect(await keys()).to.deep.equal(['score-100']);
    });

    it('fall back to the all-time boards for an entry that does not say what it did', async () => {
      const [player] = await join('p');
      const old = await play(player!, 70);
      await db.raw('alter table ledger disable trigger user');
      await db('ledger').where({ id: old.transactionId }).update({ effects: null });
      await db.raw('alter table ledger enable trigger user');
      const found = await replay(db);
      expect(found).to.include({ unchecked: 1, different: 0 });
      const undone = await correct({ userId: player!, reverses: old.transactionId });
      expect(undone).to.include({ previous: 70, current: 0 });
      expect((await scoresOf(player!))['game1:all:1970-01-01']).to.equal(undefined);
      expect((await replay(db)).different).to.equal(0);
    });
  });

  it('have a cap of their own in each period', async () => {
    const [player] = await join('p');
    await play(player!, 60, 'game2', instants[0]);
    const capped = await play(player!, 40, 'game2', instants[2]);
    expect(capped).to.include({ previous: 60, current: 60, delta: 0 });
    const scores = await scoresOf(player!);
    expect(scores['game2:daily:2027-02-02']![0]).to.equal(40);
    expect(scores['game2:monthly:2027-02-01']![0]).to.equal(40);
    expect(scores['global:all:1970-01-01']![0]).to.equal(100);
  });

  it('count what was accepted before the end of a period, although it is applied later and the standings are frozen', async () => {
    const time = Date.UTC(2027, 5, 9, 12);
    const [early, late] = await join('p', 'p');
    await play(early!, 10, 'game1', time);
    const id = await idOf('game1', 'daily', time);
    await db.raw('select close_board_period(?, ?)', [id, time + 1000]);
    await db.raw('select archive_board_period(?, 1000)', [id]);
    await play(late!, 50, 'game1', time + 999);
    await play(early!, 50, 'game1', time + 1000);
    expect((await scoresOf(early!))['game1:daily:2027-06-09']![0]).to.equal(10);
    expect((await scoresOf(early!))['game1:weekly:2027-06-07']![0]).to.equal(60);
    const places = await db('standings').where({ board_period_id: id }).orderBy('rank').pluck('user_id');
    expect(places).to.deep.equal([late, early]);
  });

  it('refuse what was accepted after a leaderboard closed, and let it expire', async () => {
    const time = Date.UTC(2027, 6, 1, 12);
    const [player] = await join('p');
    await db('leaderboards')
      .where({ key: 'game1' })
      .update({ closes_at: new Date(time) });
    try {
      await play(player!, 10, 'game1', time - 1);
      const job = signedJob(player!, `late-${player}`, { acceptedAt: time });
      await db.raw('select record_acceptance(?::jsonb)', [JSON.stringify(job)]);
      const { items } = await ledger.apply([job]);
      expect(items[0]?.outcome).to.equal('closed');
      const [action] = await db('actions').where({ id: job.actionId });
      expect(action.status).to.equal('started');
      expect(await db('queued_completions').where({ action_id: job.actionId })).to.deep.equal([]);
      expect((await scoresOf(player!))['global:all:1970-01-01']![0]).to.equal(10);
    } finally {
      await db('leaderboards').where({ key: 'game1' }).update({ closes_at: null });
    }
  });

  it('stand in the periods of our calendar: the same in SQL and here, for any instant', async () => {
    const days = fc.integer({ min: 0, max: Math.floor(Date.UTC(2100, 0, 1) / DAY_MS) });
    const edges = fc.constantFrom(0, 1, DAY_MS / 2, DAY_MS - 1);
    const years = Array.from({ length: 100 }, (_, y) => 1970 + y);
    const special = years.flatMap((y) =>
      [
        [0, 1],
        [0, 4],
        [1, 28],
        [1, 29],
        [2, 1],
        [11, 28],
        [11, 31],
      ].map(([m, d]) => Date.UTC(y, m!, d)),
    );
    const times = [
      ...special,
      ...fc.sample(fc.tuple(days, edges), 3000).map(([day, ms]) => day * DAY_MS + ms),
    ];
    const { rows } = await db.raw<{
      rows: { period: string; at: string; starts: string; ends: string | null }[];
    }>(
      `select p.period, t.at, epoch_ms(s.starts) as starts, epoch_ms(period_end(p.period, s.starts)) as ends
       from unnest(:times::bigint[]) t(at) cross join unnest(:periods::text[]) p(period)
       cross join lateral (select period_start(p.period, from_epoch_ms(t.at)) as starts) s`,
      { times, periods: [...periods] },
    );
    expect(rows).to.have.length(times.length * periods.length);
    for (const { period, at: time, starts, ends } of rows) {
      const { startsAt, endsAt } = boardAt('x', period as (typeof periods)[number], Number(time));
      expect([Number(starts), ends === null ? null : Number(ends)], `${period} of ${time}`).to.deep.equal([
        startsAt,
        endsAt,
      ]);
    }
  });

  it('is closed once: a period keeps the instant at which it was', async () => {
    const id = await idOf('game1', 'daily', Date.UTC(2031, 4, 5));
    const close = async (cut: number) =>
      (await db.raw('select close_board_period(?, ?) as done', [id, cut])).rows[0].done as boolean;
    const cut = Date.UTC(2031, 4, 5, 12);
    expect([await close(cut), await close(cut + 1000)]).to.deep.equal([true, false]);
    expect((await db('board_periods').where({ id }).first('closed_at')).closed_at.getTime()).to.equal(cut);
  });

  it('waits for its user: a correction and the completions of one user stand in one line', async () => {
    const [player] = await join('p');
    await play(player!, 10);
    const applied: string[] = [];
    let correction: Promise<unknown> | undefined;
    await db.transaction(async (trx) => {
      // As a batch of the user's completions does while it is under way.
      await trx.raw('select lock_users(?)', [[player!]]);
      correction = correct({ userId: player!, leaderboard: 'game1', delta: 5 }).then(() =>
        applied.push('correction'),
      );
      await eventually(async () => {
        const { rows } = await trx.raw(
          `select count(*)::int as waiting from pg_locks l join pg_database d on d.oid = l.database
           where d.datname = current_database() and l.locktype = 'advisory' and l.classid = 7451 and not l.granted`,
        );
        expect(rows[0].waiting).to.equal(1);
      });
      applied.push('batch');
    });
    await correction;
    expect(applied).to.deep.equal(['batch', 'correction']);
  });

  it('cannot be changed behind the ledger’s back: the database’s own last words', async () => {
    const [player] = await join('p');
    const played = await play(player!, 10);
    const refused = (work: PromiseLike<unknown>): Promise<string> =>
      Promise.resolve(work).then(
        () => 'done',
        (error: { message: string }) => error.message,
      );
    const entry = () => db('ledger').where({ id: played.transactionId });
    expect(await refused(entry().update({ delta: 11, after: 11 }))).to.include('append-only');
    expect(await refused(entry().delete())).to.include('append-only');
    expect(await refused(db.raw('truncate ledger cascade'))).to.include('append-only');
    const row = { ...(await entry().first()), id: 'x', action_id: null };
    delete row.seq;
    const insert = (change: object): Promise<string> => refused(db('ledger').insert({ ...row, ...change }));
    expect(await insert({ action_id: played.actionId })).to.include('ledger_action_id_key');
    expect(await insert({ delta: -11, before: 10, after: -1 })).to.include('check constraint');
    expect(await insert({ delta: 10, before: 0, after: 11 })).to.include('check constraint');
    expect(await insert({ effects: [[1, 2]] })).to.include('check constraint');
    expect(await refused(db('scores').where({ user_id: player }).update({ score: -1 }))).to.include(
      'check constraint',
    );
    const undo = { kind: 'rollback', reverses: played.transactionId };
    expect(await insert({ ...undo, id: 'y' })).to.equal('done');
    expect(await insert({ ...undo, id: 'z' })).to.include('ledger_rolled_back_once');
    await db.raw('alter table ledger disable trigger user');
    await db('ledger').where({ id: 'y' }).delete();
    await db.raw('alter table ledger enable trigger user');
  });
});
