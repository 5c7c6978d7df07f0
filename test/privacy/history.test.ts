import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import fc from 'fast-check';
import { after, before } from 'mocha';
import { readHistory } from '../../api/users/history.ts';
import type { Knex } from 'knex';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { useStores } from '../support/stores.ts';
import { seed } from '../support/system.ts';
import { sumDailyGains } from '../../workers/maintenance/daily-gains.ts';

const DAY_MS = 86_400_000;
const WINDOW = 30;

interface Entry {
  readonly user: number;
  readonly board: string;
  readonly daysAgo: number;
  readonly delta: number;
  readonly globalDelta: number;
}

/** What may happen to a ledger: an entry (of any day, in order or late), one that is committed later, and runs of the sums. */
type Step = { readonly entry: Entry; readonly late: boolean } | 'sum';

const entry = fc.record<Entry>({
  user: fc.nat(1),
  board: fc.constantFrom('global', 'game1', 'game2'),
  daysAgo: fc.oneof(fc.nat(3), fc.nat(60)),
  delta: fc.integer({ min: -50, max: 100 }),
  globalDelta: fc.integer({ min: -50, max: 100 }),
});
const steps = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.record({ entry, late: fc.nat(5).map((n) => n === 0) }) },
    { weight: 2, arbitrary: fc.constant<Step>('sum') },
  ),
  { maxLength: 25 },
);

describe('daily sums', function () {
  this.timeout(120_000);
  const stores = useStores();
  let db: Database;

  before(async () => {
    await seed(stores.databaseUrl);
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 12 }, 'test');
  });
  after(() => db.destroy());

  const write = async (to: Database, run: string, { user, board, daysAgo, delta, globalDelta }: Entry) =>
    to('ledger').insert({
      id: randomUUID(),
      kind: delta < 0 ? 'adjustment' : 'completion',
      user_id: `${run}-${user}`,
      leaderboard: board,
      points: Math.abs(delta),
      delta,
      before: 1000,
      after: 1000 + delta,
      global_delta: board === 'global' ? delta : globalDelta,
      accepted_at: new Date(Date.now() - daysAgo * DAY_MS),
    });

  /** The same as a history tells, by a plain sum over the ledger. */
  async function plainHistory(userId: string, board: string): Promise<{ score: number; gain: number }[]> {
    const entries = await db<{
      user_id: string;
      leaderboard: string;
      accepted_at: Date;
      delta: string;
      global_delta: string;
    }>('ledger').where({ user_id: userId });
    const own = entries.filter((e) => board === 'global' || e.leaderboard === board);
    const gainOf = (e: (typeof own)[number]) => Number(board === 'global' ? e.global_delta : e.delta);
    const today = Math.floor(Date.now() / DAY_MS);
    const dayOf = (e: (typeof own)[number]) => Math.floor(e.accepted_at.getTime() / DAY_MS);
    return Array.from({ length: WINDOW }, (_, i) => {
      const day = today - WINDOW + 1 + i;
      const sum = (some: typeof own) => some.reduce((total, e) => total + gainOf(e), 0);
      return {
        score: sum(own.filter((e) => dayOf(e) <= day)),
        gain: sum(own.filter((e) => dayOf(e) === day)),
      };
    });
  }

  let runs = 0;
  it('tells the same as the ledger, whatever is written, in whatever order it is committed', async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (history) => {
        const run = `sums${(runs += 1)}`;
        const open: Knex.Transaction[] = [];
        const agree = async () => {
          for (const user of [0, 1]) {
            for (const board of ['global', 'game1']) {
              const { points } = await readHistory(db, `${run}-${user}`, board, WINDOW);
              const told = points.map(({ score, gain }) => ({ score, gain }));
              expect(told).to.deep.equal(await plainHistory(`${run}-${user}`, board));
            }
          }
        };
        for (const step of history) {
          if (step === 'sum') {
            await sumDailyGains(db);
            // One of those that were written earlier is committed between two runs.
            await open.shift()?.commit();
          } else if (step.late && open.length < 3) {
            const trx = await db.transaction();
            open.push(trx);
            await write(trx, run, step.entry);
          } else await write(db, run, step.entry);
        }
        await agree();
        for (const trx of open) await trx.commit();
        await agree();
        for (let i = 0; i < 3; i += 1) await sumDailyGains(db);
        await agree();
      }),
      { numRuns: 30 },
    );
  });

  it('sums entries once they are settled, so that a history reads days and not entries', async () => {
    await write(db, 'settled', { user: 0, board: 'game1', daysAgo: 40, delta: 70, globalDelta: 70 });
    await write(db, 'settled', { user: 0, board: 'game1', daysAgo: 40, delta: -20, globalDelta: -20 });
    for (let i = 0; i < 3; i += 1) await sumDailyGains(db);
    const rows = await db('daily_gains')
      .where({ user_id: 'settled-0' })
      .orderBy('leaderboard')
      .select('leaderboard', 'gain');
    expect(rows).to.deep.equal([
      { leaderboard: 'game1', gain: '50' },
      { leaderboard: 'global', gain: '50' },
    ]);
    const { rows: left } = await db.raw<{ rows: { live: string }[] }>(
      `select count(*) as live from ledger where user_id = 'settled-0' and seq > (select summed from daily_gains_mark)`,
    );
    expect(left[0]?.live).to.equal('0');
    // What was earned before the window is in the score of each of its days.
    const { points } = await readHistory(db, 'settled-0', 'game1', 7);
    expect(points.map(({ score, gain }) => [score, gain])).to.deep.equal(Array(7).fill([50, 0]));
  });

  it('is added by several workers at once, each entry once', async () => {
    for (let i = 0; i < 20; i += 1)
      await write(db, 'many', { user: 0, board: 'game2', daysAgo: i, delta: 10, globalDelta: 10 });
    for (let i = 0; i < 3; i += 1) await Promise.all(Array.from({ length: 5 }, () => sumDailyGains(db)));
    const [sum] = await db('daily_gains')
      .where({ user_id: 'many-0', leaderboard: 'game2' })
      .sum<{ sum: string }[]>('gain');
    expect(sum?.sum).to.equal('200');
  });
});
