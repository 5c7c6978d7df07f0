import { expect } from 'chai';
import { after, before, beforeEach } from 'mocha';
import { BoardIndex } from '../../common/board/board-index.ts';
import { BoardTable } from '../../common/board/board-table.ts';
import { boardAt, type BoardRef, type Entry } from '../../common/board/board.ts';
import { createLogger } from '../../common/logger.ts';
import { Interrupted } from '../../common/patience.ts';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { closeRedis, createRedis, untilReady, type Redis } from '../../common/redis.ts';
import { eventually } from '../../test/support/eventually.ts';
import { useStores } from '../../test/support/stores.ts';
import { rebuildBoards, type RebuildDeps } from './rebuild.ts';

/** More than two chunks that are read, and than two portions that are loaded. */
const USERS = 11_000;
const boards = (['all', 'monthly', 'weekly', 'daily'] as const).map((period) =>
  boardAt('global', period, Date.now()),
) as [BoardRef, BoardRef, BoardRef, BoardRef];

describe('rebuildBoards', () => {
  const stores = useStores();
  const log = createLogger('test', 'silent');
  let db: Database;
  let redis: Redis;
  let other: Redis;
  let index: BoardIndex;
  let table: BoardTable;

  before(async () => {
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 4 }, 'test');
    [redis, other] = [
      createRedis(stores.redis.url, 'commands', log),
      createRedis(stores.redis.url, 'commands', log),
    ];
    await Promise.all([untilReady(redis, 5000), untilReady(other, 5000)]);
    [index, table] = [new BoardIndex(redis), new BoardTable(db)];
    await db.raw(`insert into leaderboards (key, title) values ('global', 'Global') on conflict do nothing`);
    await db.raw(
      `insert into users (id, username, username_key) select 'u' || n, n, n from generate_series(1, :USERS::int) n`,
      { USERS },
    );
    for (const { leaderboard, period, startsAt, endsAt } of boards) {
      await db('board_periods').insert({
        leaderboard,
        period,
        starts_at: new Date(startsAt),
        ends_at: endsAt === null ? null : new Date(endsAt),
      });
    }
    // Most users have one of three scores, and many reached it in the same moment.
    await db.raw(
      `insert into scores (board_period_id, user_id, score, reached_at)
       select b.id, 'u' || n, case when n % 100 = 0 then n else n % 3 end,
         greatest(b.starts_at, '2020-01-01') + (n % 500) * interval '1 ms'
       from board_periods b, generate_series(1, :USERS::int) n`,
      { USERS },
    );
  });
  beforeEach(async () => {
    await redis.flushall();
  });
  after(async () => {
    await db.destroy();
    await Promise.all([closeRedis(redis), closeRedis(other)]);
  });

  const deps = (connection = redis): RebuildDeps => ({
    index: new BoardIndex(connection),
    table,
    db,
    log,
    signal: new AbortController().signal,
  });
  async function all(chunks: AsyncIterable<Entry[]>): Promise<Entry[]> {
    const entries: Entry[] = [];
    for await (const chunk of chunks) {
      entries.push(...chunk.map(({ userId, score, reachedAt }) => ({ userId, score, reachedAt })));
    }
    return entries;
  }
  async function expectEqual(board: BoardRef): Promise<void> {
    const [copy, truth] = [await all(index.rows(board, 5000)), await all(table.rows(board, 5000))];
    expect(copy.length).to.equal(truth.length);
    expect(copy).to.deep.equal(truth);
    expect((await index.page(board, 0, 0)).total).to.equal(truth.length);
  }

  /** Waits until a part of a board is there, and not all of it. */
  const untilPartOf = (board: BoardRef): Promise<void> =>
    eventually(
      async () => {
        expect(await other.hlen(other.names.members(board))).to.be.above(1000);
        expect(await index.incomplete([board])).to.deep.equal([board]);
      },
      { everyMs: 1 },
    );

  it('copies every row, of several at the same time each board once, and all wait until every board is complete', async () => {
    const makers = [redis, other, redis].map(async (connection) => {
      const copied = await rebuildBoards(boards, deps(connection));
      expect(await index.incomplete(boards)).to.deep.equal([]);
      return copied;
    });
    const copied = await Promise.all(makers);
    expect(copied.reduce((sum, rows) => sum + rows, 0)).to.equal(boards.length * USERS);
    for (const board of boards) await expectEqual(board);
    expect(await rebuildBoards(boards, deps())).to.equal(0);
  });

  it('keeps what is played meanwhile, and takes off who was hidden meanwhile', async () => {
    const [board] = boards;
    const player = { userId: 'u77', score: 999_999, reachedAt: Date.now() };
    const reading = await db.transaction();
    await reading.raw('lock table scores in access exclusive mode');
    const made = rebuildBoards([board], deps());
    try {
      await eventually(async () => expect(await redis.exists(redis.names.members(board))).to.equal(1));
      // Whose completion was published before the ban, and is not corrected by a job of the user's own in this test.
      await index.apply([
        { board, steps: [player, { userId: 'u78', score: 999_998, reachedAt: Date.now() }] },
      ]);
      await reading('users').where({ id: 'u78' }).update({ banned_at: new Date() });
      await reading.commit();
      expect(await made).to.equal(USERS - 1);
      const entries = await all(index.rows(board, 5000));
      expect(entries[0]).to.deep.equal(player);
      expect(new Set(entries.map(({ userId }) => userId)).size).to.equal(entries.length);
      expect(entries.map(({ userId }) => userId)).not.to.include('u78');
    } finally {
      await db('users').where({ id: 'u78' }).update({ banned_at: null });
    }
  });

  it('takes over from a maker that is not heard of any more, whose attempt is over then', async () => {
    const [board] = boards;
    const dead = (await index.begin(board)) ?? '';
    await index.load(board, dead, [{ userId: 'u1', score: 5, reachedAt: Date.now() }]);
    expect(await index.begin(board), 'while it is at work').to.equal(undefined);
    await redis.hset(redis.names.members(board), '~t', '1');
    expect(await rebuildBoards([board], deps())).to.equal(USERS);
    expect(await index.load(board, dead, [{ userId: 'u1', score: 7, reachedAt: Date.now() }])).to.equal(
      false,
    );
    expect(await index.markComplete(board, dead)).to.equal(false);
    await expectEqual(board);
  });

  it('begins anew when Redis is emptied meanwhile', async () => {
    const made = rebuildBoards(boards, deps());
    const [first] = boards;
    for (let flushes = 0; flushes < 3; flushes += 1) {
      await untilPartOf(first);
      await other.flushall();
    }
    await made;
    expect(await index.incomplete(boards)).to.deep.equal([]);
    for (const board of boards) await expectEqual(board);
  });

  it('waits for a Redis that is frozen, and goes on where it was', async () => {
    const [board] = boards;
    const made = rebuildBoards([board], deps());
    await untilPartOf(board);
    stores.redis.freeze();
    // When this is given up, so is what was under way.
    expect(await other.ping().catch(() => 'no answer')).to.equal('no answer');
    stores.redis.thaw();
    await made;
    await expectEqual(board);
  });

  it('does not trust a Redis that was restarted meanwhile to have all that it was given', async () => {
    const [board] = boards;
    const reading = await db.transaction();
    await reading.raw('lock table scores in access exclusive mode');
    const made = rebuildBoards([board], deps());
    const attempt = await eventually(async () => {
      const name = await redis.hget(redis.names.members(board), '~b');
      expect(name).to.be.a('string');
      return name;
    });
    await stores.redis.kill9();
    await stores.redis.restart();
    await untilReady(redis, 5000);
    await untilReady(other, 5000);
    // The log was lost with the last second of it, or kept: the attempt itself may still be there.
    await redis.hset(redis.names.members(board), '~b', attempt ?? '', '~t', Math.floor(Date.now() / 1000));
    const stray = { userId: 'u79', score: 999_997, reachedAt: Date.now() };
    await index.load(board, attempt ?? '', [stray]);
    await reading.commit();
    await made;
    await expectEqual(board);
  });

  it('ends when it is told to', async () => {
    const ending = new AbortController();
    await index.begin(boards[0]);
    const made = rebuildBoards([boards[0]], { ...deps(), signal: ending.signal }).catch(
      (error: unknown) => error,
    );
    ending.abort();
    expect(await made).to.be.instanceOf(Interrupted);
    expect(await index.incomplete([boards[0]])).to.deep.equal([boards[0]]);
  });
});
