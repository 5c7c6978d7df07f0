import { expect } from 'chai';
import fc from 'fast-check';
import { after, before } from 'mocha';
import { useStores } from '../../test/support/stores.ts';
import { createLogger } from '../logger.ts';
import { createDatabase, type Database } from '../postgres.ts';
import { closeRedis, createRedis, type Redis } from '../redis.ts';
import { boardAt, BoardIncomplete, type BoardSource, type Entry } from './board.ts';
import { BoardIndex, type BoardChanges, type RankMove } from './board-index.ts';
import { BoardTable } from './board-table.ts';

const board = boardAt('global', 'daily', Date.now());
/** In byte order none of these stands where a dictionary, or an order without regard to case, would put it. */
const userIds = ['a', 'B', 'b', 'A1', 'a.1', 'a-1', 'a_1', 'Z', '10', '9', 'a1', 'b=='];

/** A state of one user: a score, and when it was reached, milliseconds after the board's start. */
interface State extends Entry {
  /** how Redis gets it: by completions, one by one or together, or copied from Postgres while a board is made again */
  readonly by: 'step' | 'rest' | 'load';
}
interface History {
  readonly states: readonly State[];
  /** the order in which Redis hears of them; some twice */
  readonly heard: readonly State[];
  readonly hidden: readonly string[];
}

const userId = fc.constantFrom(...userIds);
// Few scores and few moments, so that there are ties of every kind.
const state = fc.record({
  userId,
  score: fc.oneof(fc.integer({ min: 0, max: 3 }), fc.constant(999_999_999_999)),
  reachedAt: fc.integer({ min: 0, max: 4 }).map((ms) => board.startsAt + ms),
  by: fc.constantFrom('step' as const, 'rest' as const, 'load' as const),
});
const history: fc.Arbitrary<History> = fc
  .uniqueArray(state, { maxLength: 30, selector: ({ userId: id, reachedAt }) => `${id} ${reachedAt}` })
  .chain((states) =>
    fc.record({
      states: fc.constant(states),
      heard: fc
        .tuple(fc.shuffledSubarray(states, { minLength: states.length }), fc.shuffledSubarray(states))
        .map(([once, again]) => [...once, ...again]),
      hidden: fc.subarray(userIds, { maxLength: 3 }),
    }),
  );
const question = fc.record({
  offset: fc.integer({ min: 0, max: 14 }),
  limit: fc.integer({ min: 0, max: 14 }),
  one: fc.constantFrom(...userIds, 'nobody'),
  neighbors: fc.integer({ min: 0, max: 4 }),
  last: state,
});

/** What Laurel promises, in short: a user's newest state counts, and the order is total. */
function standingsOf({ states, hidden }: History): Entry[] {
  const newest = new Map<string, Entry>();
  for (const { userId: id, score, reachedAt } of states) {
    if (reachedAt >= (newest.get(id)?.reachedAt ?? 0)) newest.set(id, { userId: id, score, reachedAt });
  }
  return [...newest.values()].filter((entry) => !hidden.includes(entry.userId)).sort(compare);
}
const compare = (a: Entry, b: Entry): number =>
  b.score - a.score ||
  a.reachedAt - b.reachedAt ||
  Buffer.compare(Buffer.from(a.userId), Buffer.from(b.userId));

const changesOf = (entries: readonly Entry[], by: State['by']): BoardChanges =>
  by === 'rest' ? { board, steps: [], rest: entries } : { board, steps: entries };

describe('BoardSource', () => {
  const stores = useStores();
  let db: Database;
  let redis: Redis;
  let index: BoardIndex;

  before(async () => {
    const log = createLogger('test', 'silent');
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 4 }, 'test');
    redis = createRedis(stores.redis.url, 'commands', log);
    index = new BoardIndex(redis);
    await db.raw(`insert into leaderboards (key, title) values ('global', 'Global') on conflict do nothing`);
    await db.raw(
      `insert into users (id, username, username_key) select id, id, 'key-' || ord from unnest(:ids::text[]) with ordinality u(id, ord)`,
      { ids: userIds },
    );
    await db('board_periods').insert({
      leaderboard: board.leaderboard,
      period: board.period,
      starts_at: new Date(board.startsAt),
      ends_at: new Date(board.endsAt ?? 0),
    });
  });
  after(async () => {
    await db.destroy();
    await closeRedis(redis);
  });

  async function intoPostgres(given: History): Promise<BoardSource> {
    await db.raw('delete from scores');
    await db.raw('update users set banned_at = case when id = any (:hidden) then now() end', {
      hidden: given.hidden,
    });
    for (const entry of standingsOf({ ...given, hidden: [] })) {
      await db.raw(
        `insert into scores (board_period_id, user_id, score, reached_at)
         select id, :userId, :score, from_epoch_ms(:reachedAt) from board_periods where starts_at = from_epoch_ms(:startsAt)`,
        { ...entry, startsAt: board.startsAt },
      );
    }
    return new BoardTable(db);
  }

  async function intoRedis({ heard, hidden }: History): Promise<BoardSource> {
    await redis.flushall();
    const attempt = (await index.begin(board))!;
    let chunk: State[] = [];
    const load = async (): Promise<void> => {
      await index.load(board, attempt, chunk);
      chunk = [];
    };
    for (const entry of heard) {
      // A chunk holds each user once.
      if (entry.by !== 'load' || chunk.some(({ userId: id }) => id === entry.userId)) await load();
      if (entry.by === 'load') chunk.push(entry);
      else await index.apply([changesOf([entry], entry.by)]);
    }
    await load();
    const gone = hidden.map((id) => ({ userId: id, score: 0, reachedAt: null }));
    await index.apply([{ board, steps: gone }]);
    await index.markComplete(board, attempt);
    return index;
  }

  for (const [name, fill] of [
    ['BoardTable', intoPostgres],
    ['BoardIndex', intoRedis],
  ] as const) {
    it(`${name} answers as the rules say, whatever has happened and in whatever order it was heard`, async () => {
      await fc.assert(
        fc.asyncProperty(history, question, async (given, { offset, limit, one, neighbors, last }) => {
          const source = await fill(given);
          const expected = standingsOf(given);
          const rankOf = (id: string): number | null =>
            expected.findIndex((entry) => entry.userId === id) + 1 || null;

          const page = await source.page(board, offset, limit);
          expect(page).to.deep.include({
            total: expected.length,
            offset,
            entries: expected.slice(offset, offset + limit),
          });

          const following = await source.after(board, last, limit + 1);
          const place = expected.filter((entry) => compare(entry, last) <= 0).length;
          expect(following).to.deep.include({
            total: expected.length,
            offset: place,
            entries: expected.slice(place, place + limit + 1),
          });

          const everyone = [...userIds, 'nobody'];
          const many = await source.standings(board, everyone, 0);
          expect(many.total).to.equal(expected.length);
          expect(many.standings).to.deep.equal(
            everyone.map((id) => ({
              userId: id,
              rank: rankOf(id),
              score: expected.find((entry) => entry.userId === id)?.score ?? 0,
              reachedAt: expected.find((entry) => entry.userId === id)?.reachedAt ?? 0,
            })),
          );

          const around = await source.standings(board, [one], neighbors);
          const rank = rankOf(one);
          const first = Math.max(0, (rank ?? 0) - 1 - neighbors);
          expect(around.standings).to.deep.equal([many.standings[everyone.indexOf(one)]]);
          expect(around.neighbors).to.deep.equal(
            rank === null || neighbors === 0
              ? { offset: 0, entries: [] }
              : { offset: first, entries: expected.slice(first, rank + neighbors) },
          );
        }),
        { numRuns: 60 },
      );
    });
  }

  it('BoardTable reads a board in chunks of any size, whatever ties there are', async () => {
    await fc.assert(
      fc.asyncProperty(history, fc.integer({ min: 1, max: 6 }), async (given, size) => {
        await intoPostgres(given);
        const chunks: Entry[][] = [];
        for await (const chunk of new BoardTable(db).rows(board, size)) chunks.push(chunk);
        expect(chunks.flat()).to.deep.equal(standingsOf(given));
        for (const chunk of chunks) expect(chunk).to.have.length.within(1, size);
      }),
      { numRuns: 60 },
    );
  });

  it('BoardTable never lets shared figures contradict what stands beside them', async () => {
    const [first, second, third] = ['a', 'B', 'b'].map((id, i) => ({
      userId: id,
      score: 3 - i,
      reachedAt: board.startsAt + i,
      by: 'load' as const,
    })) as [State, State, State];
    await intoPostgres({ states: [first], heard: [], hidden: [] });
    const table = new BoardTable(db, { figuresMaxAgeMs: 3_600_000, countedAnewBelow: 0 });
    expect(await table.page(board, 0, 10)).to.deep.include({ total: 1, updatedAt: first.reachedAt });
    await intoPostgres({ states: [first, second, third], heard: [], hidden: [] });
    expect(await table.page(board, 0, 0), 'a count of its own').to.deep.include({ total: 1 });
    expect(await table.page(board, 0, 10)).to.deep.include({ total: 3, updatedAt: third.reachedAt });
    expect(await table.page(board, 7, 10)).to.deep.include({ total: 1, entries: [] });
    expect(await table.after(board, first, 10)).to.deep.include({ total: 3, updatedAt: third.reachedAt });
    expect((await table.standings(board, ['b'], 0)).total).to.equal(3);
    expect((await table.standings(board, ['nobody'], 0)).total).to.equal(1);
  });

  it('BoardIndex refuses to answer from a board of which a part is missing', async () => {
    await intoRedis({ states: [], heard: [], hidden: [] });
    const keys = await redis.keys('laurel:*');
    expect(keys.length).to.be.above(1);
    for (const key of keys) {
      const kept = await redis.dumpBuffer(key);
      await redis.del(key);
      const error: unknown = await index.page(board, 0, 10).catch((reason: unknown) => reason);
      expect(error).to.be.instanceOf(BoardIncomplete);
      expect(await index.incomplete([board])).to.deep.equal([board]);
      await redis.restore(key, 0, kept!);
    }
    expect((await index.page(board, 0, 10)).entries).to.deep.equal([]);
  });

  it('BoardIndex raises the version exactly when the top 10 changes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(state, { minLength: 1, maxLength: 25 }), async (states) => {
        await redis.flushall();
        await index.markComplete(board, (await index.begin(board))!);
        let before = await index.page(board, 0, 10);
        for (const entry of states) {
          await index.apply([changesOf([entry], entry.by)]);
          const now = await index.page(board, 0, 10);
          const changed = JSON.stringify(now.entries) !== JSON.stringify(before.entries);
          expect(now.version - before.version, JSON.stringify(entry)).to.equal(changed ? 1 : 0);
          before = now;
        }
      }),
      { numRuns: 30 },
    );
  });

  it('BoardIndex raises the version for the tenth place, and not for the eleventh', async () => {
    await redis.flushall();
    await index.markComplete(board, (await index.begin(board))!);
    let at = board.startsAt;
    const put = async (place: number, score: number): Promise<number> => {
      const step = { userId: `border-${place}`, score, reachedAt: (at += 1) };
      await index.apply([{ board, steps: [step] }]);
      return (await index.page(board, 0, 0)).version;
    };
    let version = 0;
    for (let place = 1; place <= 12; place += 1) version = await put(place, 200 - 10 * place);
    expect(await put(11, 91), 'the eleventh').to.equal(version);
    expect(await put(10, 101), 'the tenth').to.equal(version + 1);
    expect(await put(12, 102), 'another one is the tenth').to.equal(version + 2);
    expect(await put(10, 103), 'and is so no more').to.equal(version + 3);
  });

  it('BoardIndex tells the ranks of those near the top, as it tells them of each step', async () => {
    const crowd = Array.from({ length: 130 }, (_, i) => ({
      userId: `u${i}`,
      score: 10 + Math.floor(i / 4),
      reachedAt: board.startsAt + ((i * 5) % 21),
    }));
    const rises = fc
      .uniqueArray(
        fc.record({
          who: fc.nat({ max: 140 }),
          by: fc.integer({ min: 1, max: 30 }),
          after: fc.integer({ min: 7, max: 9 }),
        }),
        { selector: ({ who }) => who, minLength: 1, maxLength: 60 },
      )
      .map((chosen) =>
        chosen.map(({ who, by, after: ms }) => ({
          userId: `u${who}`,
          score: (crowd[who]?.score ?? 0) + by,
          reachedAt: (crowd[who]?.reachedAt ?? board.startsAt) + 1 + ms,
        })),
      );
    // Who comes from further down comes from one place or another, by whose turn it was.
    const capped = (move: RankMove & { place: number }) => ({
      place: move.place,
      previous: move.previous === null ? null : Math.min(move.previous, 101),
      current: Math.min(move.current ?? 101, 101),
    });
    const standing = async (): Promise<{ entries: readonly Entry[]; changed: boolean }> => {
      const { entries, version } = await index.page(board, 0, 200);
      return { entries, changed: version > first };
    };
    let first = 0;
    const afresh = async (): Promise<void> => {
      await redis.flushall();
      const attempt = (await index.begin(board))!;
      await index.load(board, attempt, crowd);
      await index.markComplete(board, attempt);
      first = (await index.page(board, 0, 0)).version;
    };
    await fc.assert(
      fc.asyncProperty(rises, async (entries) => {
        await afresh();
        const [stepped] = await index.apply([{ board, steps: entries }]);
        const expected = await standing();
        const near = stepped!.ranks.map(({ previous, current }, place) =>
          capped({ place, previous, current }),
        );
        await afresh();
        const [together] = await index.apply([{ board, steps: [], rest: entries }]);
        expect(together!.ranks).to.deep.equal([]);
        expect(together!.nearTop.map(capped)).to.include.deep.members(
          near.filter(({ current }) => current <= 100),
        );
        expect(await standing()).to.deep.equal(expected);
      }),
      // As many points as place 100, and earlier.
      { numRuns: 40, examples: [[[{ userId: 'u131', score: 17, reachedAt: board.startsAt }]]] },
    );
  });

  it('BoardIndex puts more users in place at once than Lua unpacks values', async () => {
    await redis.flushall();
    await index.markComplete(board, (await index.begin(board))!);
    const many = Array.from({ length: 9000 }, (_, i) => ({
      userId: `u${i}`,
      score: i,
      reachedAt: board.startsAt + i,
    }));
    const best = many.slice(-100);
    await index.apply([{ board, steps: best }]);
    const [applied] = await index.apply([{ board, steps: [], rest: many.slice(0, -100) }]);
    expect(applied!.nearTop).to.deep.equal([]);
    const { total, entries } = await index.page(board, 8900, 100);
    expect({ total, last: entries.at(-1) }).to.deep.equal({ total: 9000, last: many[0] });
  });
});
