import { expect } from 'chai';
import fc from 'fast-check';
import { after, before } from 'mocha';
import { createDatabase, type Database } from '../../common/postgres.ts';
import type { CompletionJob } from '../../common/queues.ts';
import { signedJob } from '../../test/support/jobs.ts';
import { useStores } from '../../test/support/stores.ts';
import { seed } from '../../test/support/system.ts';
import { Ledger, type AppliedItem } from './ledger.ts';

const boards = ['global', 'game1', 'game2'] as const;
/** So low that most histories reach them. */
const caps: Record<string, number> = { global: 220, game1: 120, game2: 1_000_000 };
const MOST_POINTS = 100;
const TOKEN_HASH = 'ab'.repeat(32);
const BEGIN = Date.UTC(2026, 6, 1, 12);

interface Action {
  readonly user: number;
  readonly board: (typeof boards)[number];
  readonly points: number;
  readonly cancelled: boolean;
}
const action = fc.record<Action>({
  user: fc.nat(2),
  board: fc.constantFrom(...boards),
  points: fc.constantFrom(0, 10, 50, 100, 150),
  cancelled: fc.nat(4).map((n) => n === 0),
});
/** Actions, and the order in which they are completed and completed again, cut into batches in two ways. */
const history = fc.record({
  actions: fc.array(action, { minLength: 1, maxLength: 12 }),
  steps: fc.array(fc.nat(11), { minLength: 1, maxLength: 30 }),
  cuts: fc.tuple(fc.array(fc.boolean(), { maxLength: 30 }), fc.array(fc.boolean(), { maxLength: 30 })),
});

describe('apply_completions', function () {
  this.timeout(60_000);
  const stores = useStores();
  let db: Database;
  let ledger: Ledger;
  let runs = 0;

  before(async () => {
    await seed(stores.databaseUrl);
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
    ledger = new Ledger(db);
    for (const [key, cap] of Object.entries(caps))
      await db('leaderboards').where({ key }).update({ score_cap: cap, max_points_per_update: MOST_POINTS });
  });
  after(() => db.destroy());

  /** Applies a history in batches. @returns what became of it, under names that do not depend on the run */
  async function apply(actions: readonly Action[], steps: readonly number[], cuts: readonly boolean[]) {
    const run = `run${(runs += 1)}`;
    const userOf = (n: number): string => `${run}-u${n}`;
    const idOf = (n: number): string => `${run}-a${n}`;
    await db('users').insert(
      [0, 1, 2].map((n) => ({ id: userOf(n), username: userOf(n), username_key: userOf(n) })),
    );
    await db('actions').insert(
      actions.map(({ user, board, points, cancelled }, n) => ({
        id: idOf(n),
        user_id: userOf(user),
        type: 'COMPLETE_TASK',
        leaderboard: board,
        points,
        status: cancelled ? 'cancelled' : 'started',
        token_hash: Buffer.from(TOKEN_HASH, 'hex'),
        started_at: new Date(BEGIN),
        expires_at: new Date(BEGIN + 300_000),
      })),
    );
    const batches: number[][] = [[]];
    steps.forEach((step, i) => {
      // A queue never holds one action twice.
      if (cuts[i] || batches.at(-1)!.includes(step)) batches.push([]);
      batches.at(-1)!.push(step);
    });
    const items: AppliedItem[] = [];
    let at = BEGIN;
    for (const batch of batches.filter(({ length }) => length > 0)) {
      const jobs = batch.map((n): CompletionJob => ({
        kind: 'completion',
        actionId: idOf(n),
        userId: userOf(actions[n]!.user),
        acceptedAt: (at += 1),
        tokenHash: TOKEN_HASH,
        ip: null,
        userAgent: null,
        replyTo: 'nobody',
      }));
      items.push(...(await ledger.apply(jobs)).items);
    }
    const entries = await db('ledger')
      .whereLike('user_id', `${run}-%`)
      .orderBy(['user_id', 'accepted_at'])
      .select('action_id', 'leaderboard', 'before', 'after', 'global_delta');
    const scores = await db('scores')
      .join('board_periods as b', 'b.id', 'board_period_id')
      .whereLike('user_id', `${run}-%`)
      .select('user_id', 'leaderboard', 'period', 'score');
    const plain = (text: string): string => text.slice(run.length + 1);
    return {
      outcomes: items.map(({ actionId, outcome, ...item }) => ({
        action: plain(actionId),
        outcome,
        ...('current' in item && { previous: item.previous, current: item.current }),
      })),
      entries: entries.map((e: any) => [
        plain(e.action_id),
        Number(e.before),
        Number(e.after),
        Number(e.global_delta),
      ]),
      scores: Object.fromEntries(
        scores.map((s: any) => [`${plain(s.user_id)} ${s.leaderboard} ${s.period}`, Number(s.score)]),
      ),
    };
  }

  /** The rules, once more and without a database. */
  function model(actions: readonly Action[], steps: readonly number[]) {
    const total = new Map<string, number>();
    const done = new Map<number, { previous: number; current: number }>();
    const outcomes = steps.map((n) => {
      const { user, board, points, cancelled } = actions[n]!;
      if (cancelled) return { action: `a${n}`, outcome: 'cancelled' };
      const known = done.get(n);
      if (known) return { action: `a${n}`, outcome: 'duplicate', ...known };
      const previous = total.get(`u${user} ${board}`) ?? 0;
      for (const key of new Set([board, 'global'])) {
        const score = total.get(`u${user} ${key}`) ?? 0;
        total.set(`u${user} ${key}`, Math.min(score + Math.min(points, MOST_POINTS), caps[key]!));
      }
      const result = { previous, current: total.get(`u${user} ${board}`)! };
      done.set(n, result);
      return { action: `a${n}`, outcome: 'completed', ...result };
    });
    const scores: Record<string, number> = {};
    for (const [key, score] of total)
      for (const period of ['all', 'daily', 'weekly', 'monthly'])
        if (score > 0) scores[`${key} ${period}`] = score;
    return { outcomes, scores };
  }

  it('counts as the rules say, however the same history is cut into batches', async () => {
    await fc.assert(
      fc.asyncProperty(history, async ({ actions, steps, cuts }) => {
        const order = steps.filter((n) => n < actions.length);
        fc.pre(order.length > 0);
        const expected = model(actions, order);
        const [one, other] = [await apply(actions, order, cuts[0]), await apply(actions, order, cuts[1])];
        expect(one.outcomes).to.deep.equal(expected.outcomes);
        expect(one.scores).to.deep.equal(expected.scores);
        expect(other).to.deep.equal(one);
      }),
      { numRuns: 60 },
    );
  });

  it('applies what was accepted first first, although it comes back behind', async () => {
    const run = `run${(runs += 1)}`;
    await db('users').insert({ id: run, username: run, username_key: run });
    const jobs = ['earlier', 'later'].map((name, n) =>
      signedJob(run, `${run}-${name}`, { leaderboard: 'game2', acceptedAt: BEGIN + n }),
    );
    // A 202, which Redis forgot, and the sweeper put back.
    await db.raw('select record_acceptance(?::jsonb)', [JSON.stringify(jobs[0])]);
    const { items } = await ledger.apply(jobs.toReversed());
    expect(items.map((item) => [item.actionId, 'current' in item && item.current])).to.deep.equal([
      [`${run}-earlier`, 10],
      [`${run}-later`, 20],
    ]);
  });

  it('lets a batch and its repetition race, as a stalled worker and its successor do', async () => {
    const userId = 'racer';
    await db('users').insert({ id: userId, username: userId, username_key: userId });
    const jobs = Array.from({ length: 30 }, (_, n) =>
      signedJob(userId, `race-${n}`, { leaderboard: 'game2', acceptedAt: BEGIN + n }),
    );
    const [a, b] = await Promise.all([ledger.apply(jobs), ledger.apply(jobs)]);
    const outcomes = [a, b].map(({ items }) => new Set(items.map(({ outcome }) => outcome)));
    expect(outcomes.map((set) => [...set].join()).sort()).to.deep.equal(['completed', 'duplicate']);
    const strip = ({ items }: typeof a) =>
      items.map((item) => ({ ...item, outcome: '', unlocked: undefined }));
    expect(strip(a)).to.deep.equal(strip(b));
    expect(a.items.at(-1)).to.include({ previous: 290, current: 300 });
  });

  it('keeps the chain of before and after when three batches of one user race', async () => {
    for (let round = 0; round < 10; round += 1) {
      const userId = `chained-${round}`;
      await db('users').insert({ id: userId, username: userId, username_key: userId });
      const batches = [0, 1, 2].map((batch) =>
        Array.from({ length: 4 }, (_, n) =>
          signedJob(userId, `${userId}-${batch}-${n}`, { leaderboard: 'game2', acceptedAt: BEGIN }),
        ),
      );
      const applied = await Promise.all(batches.map((jobs) => ledger.apply(jobs)));
      expect(applied.flatMap(({ items }) => items.map(({ outcome }) => outcome))).to.deep.equal(
        Array(12).fill('completed'),
      );
      const entries = await db('ledger')
        .where({ user_id: userId })
        .orderBy('after')
        .select('before', 'after');
      expect(entries.map(({ before, after }) => [Number(before), Number(after)])).to.deep.equal(
        Array.from({ length: 12 }, (_, n) => [10 * n, 10 * (n + 1)]),
      );
    }
  });

  it('checks whose action it is, and by which token', async () => {
    await db('users').insert(['owner', 'thief'].map((id) => ({ id, username: id, username_key: id })));
    await db('actions').insert({
      id: 'owned',
      user_id: 'owner',
      type: 'COMPLETE_TASK',
      leaderboard: 'game2',
      points: 10,
      token_hash: Buffer.from(TOKEN_HASH, 'hex'),
      started_at: new Date(BEGIN),
      expires_at: new Date(BEGIN + 300_000),
    });
    const job = (userId: string, tokenHash: string): CompletionJob => ({
      kind: 'completion',
      actionId: 'owned',
      userId,
      acceptedAt: BEGIN + 1,
      tokenHash,
      ip: null,
      userAgent: null,
      replyTo: 'nobody',
    });
    const outcome = async (one: CompletionJob) => (await ledger.apply([one])).items[0]?.outcome;
    expect(await outcome(job('thief', TOKEN_HASH))).to.equal('not_yours');
    expect(await outcome(job('owner', 'cd'.repeat(32)))).to.equal('token_mismatch');
    expect(await db('ledger').where({ action_id: 'owned' })).to.deep.equal([]);
    const accept = async (one: CompletionJob) =>
      (await db.raw('select record_acceptance(?::jsonb) as told', [JSON.stringify(one)])).rows[0].told;
    // It records no acceptance for another user, either.
    expect(await accept(job('thief', TOKEN_HASH))).to.deep.equal({ status: 'not_yours' });
    expect(await db('queued_completions').where({ action_id: 'owned' })).to.deep.equal([]);
    expect(await outcome(job('owner', TOKEN_HASH))).to.equal('completed');
  });

  it('reaches a milestone of the score at its very points, and tells it', async () => {
    const userId = 'climber';
    await db('users').insert({ id: userId, username: userId, username_key: userId });
    const unlocked: unknown[] = [];
    for (const [n, points] of [90, 9, 1, 50].entries()) {
      const job = signedJob(userId, `climb-${n}`, { points, leaderboard: 'game2', acceptedAt: BEGIN + n });
      const [item] = (await ledger.apply([job])).items;
      unlocked.push(item && 'unlocked' in item ? item.unlocked : undefined);
    }
    expect(unlocked).to.deep.equal([[], [], ['score-100'], []]);
    expect(await db('achievements').where({ user_id: userId }).select('key', 'action_id')).to.deep.equal([
      { key: 'score-100', action_id: 'climb-2' },
    ]);
  });

  it('finds scores by their key, though its plans were made when the tables were known to be empty', async () => {
    const own = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 1 }, 'test');
    try {
      await own.raw('truncate scores');
      await own.raw('vacuum analyze scores');
      const walked = async (): Promise<number> => {
        await own.raw('select pg_stat_force_next_flush()');
        const { rows } = await own.raw<{ rows: { walked: string }[] }>(
          `select idx_tup_read as walked from pg_stat_user_indexes where indexrelname = 'scores_ranked'`,
        );
        return Number(rows[0]?.walked);
      };
      const before = await walked();
      const ownLedger = new Ledger(own);
      for (let batch = 0; batch < 10; batch += 1) {
        const ids = Array.from({ length: 10 }, (_, n) => `planned-${batch}-${n}`);
        await own('users').insert(ids.map((id) => ({ id, username: id, username_key: id })));
        await own('actions').insert(
          ids.map((id) => ({
            id,
            user_id: id,
            type: 'COMPLETE_TASK',
            leaderboard: 'game1',
            points: 10,
            token_hash: Buffer.from(TOKEN_HASH, 'hex'),
            started_at: new Date(BEGIN),
            expires_at: new Date(BEGIN + 60_000),
          })),
        );
        const jobs = ids.map((id) => ({
          kind: 'completion' as const,
          actionId: id,
          userId: id,
          acceptedAt: BEGIN + batch,
          tokenHash: TOKEN_HASH,
          ip: null,
          userAgent: null,
          replyTo: 'test',
        }));
        // A repetition writes nothing, and reads the rows for Redis again.
        for (const expected of ['completed', 'duplicate']) {
          const { items } = await ownLedger.apply(jobs);
          expect(items.map(({ outcome }) => outcome)).to.deep.equal(ids.map(() => expected));
        }
      }
      expect(await walked()).to.equal(before);
    } finally {
      await own.destroy();
    }
  });

  it('says of every row whether boards may show it: not those of the banned, the erased and the unknown', async () => {
    const userIds = ['row-shown', 'row-banned', 'row-erased'];
    await db('users').insert(userIds.map((id) => ({ id, username: id, username_key: id })));
    await db('users').where({ id: 'row-banned' }).update({ banned_at: new Date() });
    await db('users').where({ id: 'row-erased' }).update({ erased_at: new Date() });
    const everyone = [...userIds, 'row-unknown'];
    const { boards: written } = await ledger.apply(everyone.map((id) => signedJob(id, `of-${id}`)));
    expect(written).to.have.length(8);
    for (const { rows } of written)
      expect(Object.fromEntries(rows.map(([id, , , hidden]) => [id, hidden]))).to.deep.equal({
        'row-shown': false,
        'row-banned': true,
        'row-erased': true,
        'row-unknown': true,
      });
  });

  it('keeps no address of an erased user, also of a completion that does not count', async () => {
    await db('users').insert({ id: 'late', username: 'late', username_key: 'late', erased_at: new Date() });
    await db('leaderboards')
      .where({ key: 'game2' })
      .update({ closes_at: new Date(BEGIN) });
    const job = { ...signedJob('late', 'late-action', { leaderboard: 'game2', acceptedAt: BEGIN }) };
    const { items } = await ledger.apply([{ ...job, ip: '203.0.113.9', userAgent: 'a phone' }]);
    await db('leaderboards').where({ key: 'game2' }).update({ closes_at: null });
    expect(items[0]?.outcome).to.equal('closed');
    expect(await db('actions').where({ id: 'late-action' }).first('ip', 'user_agent')).to.deep.equal({
      ip: null,
      user_agent: null,
    });
  });

  it('counts an id that two users signed for the first of them, without failing the batch', async () => {
    const userIds = ['one-id-first', 'one-id-second'];
    await db('users').insert(userIds.map((id) => ({ id, username: id, username_key: id })));
    const { items } = await ledger.apply(
      userIds.map((userId, n) => signedJob(userId, 'one-id', { acceptedAt: BEGIN + n })),
    );
    expect(items.map(({ userId, outcome }) => [userId, outcome])).to.deep.equal([
      ['one-id-first', 'completed'],
      ['one-id-second', 'not_yours'],
    ]);
    expect(await db('ledger').where({ action_id: 'one-id' }).pluck('user_id')).to.deep.equal([
      'one-id-first',
    ]);
  });
});
