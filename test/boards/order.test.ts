import { expect } from 'chai';
import fc from 'fast-check';
import { BoardIndex } from '../../common/board/board-index.ts';
import { BoardTable } from '../../common/board/board-table.ts';
import { boardAt, boardId, type BoardRef, type BoardSource, type Entry } from '../../common/board/board.ts';
import { createLogger } from '../../common/logger.ts';
import { periods } from '../../common/periods.ts';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { closeRedis, createRedis, untilReady, type Redis } from '../../common/redis.ts';
import type { CompletionJob } from '../../common/queues.ts';
import { Ledger } from '../../workers/completions/ledger.ts';
import { changeOfRow } from '../../common/board/index-rows.ts';
import { runs } from '../support/runs.ts';
import { useStores } from '../support/stores.ts';
import { seed } from '../support/system.ts';

const users = ['u0', 'u1', 'u2', 'U3', 'u-4', 'u.5'];
const boards = ['global', 'game1', 'game2'];
/** Days around which periods begin and end: ISO week 53, a leap day, a year's end, summer time in many places. To come, as Redis drops boards of the past. */
const days = [
  '2026-12-31',
  '2027-01-03',
  '2027-01-04',
  '2027-03-28',
  '2028-02-29',
  '2028-03-01',
  '2032-12-31',
  '2033-01-01',
];

type Step =
  | { do: 'complete'; user: string; board: string; points: number; day: number; ms: number }
  | { do: 'adjust'; user: string; board: string; delta: number; day: number; ms: number }
  | { do: 'ban'; user: string; lift: boolean };

const user = fc.constantFrom(...users);
const board = fc.constantFrom(...boards);
// Few points and few instants, so that ties are common.
const at = { day: fc.nat(days.length - 1), ms: fc.constantFrom(0, 1, 86_399_999) };
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('complete' as const),
      user,
      board,
      points: fc.constantFrom(10, 10, 20, 50),
      ...at,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('adjust' as const),
      user,
      board,
      delta: fc.constantFrom(-1000, -10, 10, 90),
      ...at,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('ban' as const), user, lift: fc.boolean() }) },
);

/** The rules in a few lines: scores by board and period, the order, and who is shown. */
class Model {
  readonly #scores = new Map<string, Map<string, Entry>>();
  readonly #banned = new Set<string>();

  /** Each period has a sum of its own under the cap; without points there is no row. */
  change(userId: string, on: string, wanted: number, time: number, cap: number): void {
    const last = this.#of(boardAt(on, 'all', time)).get(userId)?.reachedAt ?? 0;
    for (const period of periods) {
      const scores = this.#of(boardAt(on, period, time));
      const old = scores.get(userId);
      const before = old?.score ?? 0;
      const score = Math.max(Math.min(before + wanted, Math.max(cap, before)), 0);
      if (score === before) continue;
      if (score === 0) scores.delete(userId);
      else
        scores.set(userId, { userId, score, reachedAt: Math.max(time, last + 1, (old?.reachedAt ?? 0) + 1) });
    }
  }

  setBan(userId: string, banned: boolean): void {
    if (banned) this.#banned.add(userId);
    else this.#banned.delete(userId);
  }

  gainedOn(userId: string, on: string): number {
    return this.#of(boardAt(on, 'all', 0)).get(userId)?.score ?? 0;
  }

  standings(ref: BoardRef): Entry[] {
    return [...this.#of(ref).values()]
      .filter(({ userId }) => !this.#banned.has(userId))
      .sort((a, b) => b.score - a.score || a.reachedAt - b.reachedAt || (a.userId < b.userId ? -1 : 1));
  }

  /** boards on which somebody has a score */
  get filled(): string[] {
    return this.boards.filter((id) => (this.#scores.get(id)?.size ?? 0) > 0);
  }

  get boards(): string[] {
    return [...this.#scores.keys()];
  }

  #of(ref: BoardRef): Map<string, Entry> {
    const scores = this.#scores.get(boardId(ref)) ?? new Map<string, Entry>();
    this.#scores.set(boardId(ref), scores);
    return scores;
  }
}

describe('one order everywhere', () => {
  const stores = useStores();
  let db: Database;
  let redis: Redis;
  let ledger: Ledger;
  let index: BoardIndex;
  let table: BoardTable;
  let count = 0;
  const complete = new Set<string>();

  before(async () => {
    await seed(stores.databaseUrl);
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 4 }, 'test');
    redis = createRedis(stores.redis.url, 'commands', createLogger('test', 'silent'));
    await untilReady(redis, 5000);
    ledger = new Ledger(db);
    index = new BoardIndex(redis);
    table = new BoardTable(db);
    await db('users').insert(
      users.map((id) => ({ id, username: `name ${id}`, username_key: `${id}-${id.charCodeAt(0)}` })),
    );
    await db('leaderboards').where({ key: 'game2' }).update({ score_cap: 60 });
  });
  after(async () => {
    await db.destroy();
    await closeRedis(redis);
  });

  const capOf = (key: string): number => (key === 'game2' ? 60 : 1_000_000);
  const timeOf = ({ day, ms }: { day: number; ms: number }): number =>
    Date.parse(`${days[day]}T00:00:00Z`) + ms;

  async function play(steps: readonly Step[], model: Model): Promise<void> {
    await db.raw('delete from scores; delete from board_periods; update users set banned_at = null');
    await redis.flushall();
    complete.clear();
    // Completions that follow on each other are one transaction, as in a partition under load.
    let batch: CompletionJob[] = [];
    const flush = async (): Promise<void> => {
      if (batch.length === 0) return;
      await db('actions').insert(batch.map(toAction));
      const { boards } = await ledger.apply(batch.map(asSigned));
      batch = [];
      await sync(boards);
    };
    for (const s of steps) {
      count += 1;
      if (s.do === 'complete') {
        // Within a batch, a user's completions come in the order of acceptance.
        if (batch.some(({ userId, acceptedAt }) => userId === s.user && acceptedAt > timeOf(s)))
          await flush();
        batch.push({
          kind: 'completion',
          actionId: `a${count}`,
          userId: s.user,
          acceptedAt: timeOf(s),
          tokenHash: 'ab',
          ip: null,
          userAgent: null,
          replyTo: 'test',
          client: { type: 'COMPLETE_TASK', leaderboard: s.board, points: s.points },
        });
        for (const key of new Set([s.board, 'global']))
          model.change(s.user, key, s.points, timeOf(s), capOf(key));
        continue;
      }
      await flush();
      if (s.do === 'ban') {
        await db('users')
          .where({ id: s.user })
          .update({ banned_at: s.lift ? null : new Date() });
        model.setBan(s.user, !s.lift);
        await sync(await ledger.rowsOf(s.user));
        continue;
      }
      const before = model.gainedOn(s.user, s.board);
      const { boards } = await ledger.correct({
        kind: 'correction',
        correction: 'adjustment',
        transactionId: `t${count}`,
        userId: s.user,
        leaderboard: s.board,
        delta: s.delta,
        reason: 'test',
        actor: 'test',
        acceptedAt: timeOf(s),
        replyTo: 'test',
      });
      model.change(s.user, s.board, s.delta, timeOf(s), capOf(s.board));
      const effective = model.gainedOn(s.user, s.board) - before;
      if (s.board !== 'global') model.change(s.user, 'global', effective, timeOf(s), capOf('global'));
      await sync(boards);
    }
    await flush();
  }

  /** As a job of a server-signed action is: its terms stand in the action. */
  const asSigned = (job: CompletionJob): CompletionJob => {
    const { kind, actionId, userId, acceptedAt, tokenHash, ip, userAgent, replyTo } = job;
    return { kind, actionId, userId, acceptedAt, tokenHash, ip, userAgent, replyTo };
  };

  const toAction = ({ actionId, userId, acceptedAt, client }: CompletionJob) => ({
    id: actionId,
    user_id: userId,
    type: client?.type,
    leaderboard: client?.leaderboard,
    points: client?.points,
    token_hash: Buffer.from('ab', 'hex'),
    started_at: new Date(acceptedAt),
    expires_at: new Date(acceptedAt),
  });

  async function sync(indexed: Awaited<ReturnType<Ledger['rowsOf']>>): Promise<void> {
    const fresh = new Map(indexed.map(({ board }) => [boardId(board), board]));
    for (const id of complete) fresh.delete(id);
    await Promise.all(
      [...fresh].map(async ([id, ref]) => {
        complete.add(id);
        await index.markComplete(ref, (await index.begin(ref))!);
      }),
    );
    await index.apply(
      indexed.map(({ board, rows }) => ({ board, steps: rows.map(changeOfRow) })),
      { overwrite: true },
    );
  }

  async function agrees(
    source: BoardSource,
    ref: BoardRef,
    expected: Entry[],
    limit: number,
    neighbors: number,
  ): Promise<void> {
    const seen: Entry[] = [];
    for (let page = await source.page(ref, 0, limit); ; page = await source.after(ref, seen.at(-1)!, limit)) {
      expect(page.total).to.equal(expected.length);
      if (page.entries.length === 0) break;
      expect(page.offset).to.equal(seen.length);
      seen.push(...page.entries);
    }
    expect(seen).to.deep.equal(expected);
    const checks = users.map(async (userId) => {
      const place = expected.findIndex((entry) => entry.userId === userId);
      const { standings, neighbors: around } = await source.standings(ref, [userId], neighbors);
      expect(standings[0]).to.deep.include({ userId, rank: place < 0 ? null : place + 1 });
      if (place < 0 || neighbors === 0) return;
      expect(around.entries).to.deep.equal(
        expected.slice(Math.max(0, place - neighbors), place + neighbors + 1),
      );
    });
    await Promise.all(checks);
  }

  it('is the same in Redis, in Postgres and in a model, for every period, page, cursor and neighbourhood', async function () {
    this.timeout(runs(90_000));
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 4 }),
        fc.nat(3),
        async (steps, limit, neighbors) => {
          const model = new Model();
          await play(steps, model);
          // Two of the boards that the history touched, and whole of each: all of them would be the same code again.
          const touched = model.boards.filter((id) => complete.has(id));
          // Postgres keeps them under the same names: the two calendars are one.
          expect([...complete]).to.include.members(model.filled);
          for (const id of touched.slice(0, 2).concat(touched.slice(-1))) {
            const [leaderboard, period, startsAt] = id.split(':') as [
              string,
              (typeof periods)[number],
              string,
            ];
            const ref = boardAt(leaderboard, period, Number(startsAt));
            const expected = model.standings(ref);
            await Promise.all([
              agrees(index, ref, expected, limit, neighbors),
              agrees(table, ref, expected, limit, neighbors),
            ]);
          }
        },
      ),
      { numRuns: runs(100) },
    );
  });

  it('neither skips nor repeats behind a cursor while others’ scores change', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 6, maxLength: 12 }),
        fc.array(step, { minLength: 1, maxLength: 6 }),
        async (history, meanwhile) => {
          const model = new Model();
          await play(history, model);
          const ref = boardAt('global', 'all', 0);
          const expected = model.standings(ref);
          const first = await index.page(ref, 0, 1);
          if (first.entries.length === 0) return;
          // Users who are moved while the board is being read may be seen in either place; all others exactly once.
          const moved = new Set(meanwhile.map((s) => s.user));
          const seen = [...first.entries];
          for (const s of meanwhile) {
            await index.apply([
              { board: ref, steps: [{ userId: s.user, score: 35, reachedAt: Date.parse('2030-01-01') }] },
            ]);
            seen.push(...(await index.after(ref, seen.at(-1)!, 1)).entries);
          }
          for (;;) {
            const { entries } = await index.after(ref, seen.at(-1)!, 2);
            if (entries.length === 0) break;
            seen.push(...entries);
          }
          const steady = (entries: Entry[]) =>
            entries.filter(({ userId }) => !moved.has(userId)).map(({ userId }) => userId);
          expect(steady(seen)).to.deep.equal(steady(expected));
        },
      ),
      { numRuns: 30 },
    );
  });
});
