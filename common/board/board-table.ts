import { LRUCache } from 'lru-cache';
import type { Database } from '../postgres.ts';
import {
  boardId,
  type BoardPage,
  type BoardRef,
  type BoardSource,
  type Entry,
  type StandingsAnswer,
} from './board.ts';

interface EntryRow {
  user_id: string;
  score: string;
  reached_at: string;
}

const toEntry = (row: EntryRow): Entry => ({
  userId: row.user_id,
  score: Number(row.score),
  reachedAt: Number(row.reached_at),
});

/** Boards whose figures are kept: more than anybody watches at a time. */
const COUNTED_BOARDS = 1000;

/** Smaller boards are counted for each who asks: that costs little, and a count of a moment ago would tell the last of four to be the last of two. */
const COUNTED_ANEW_BELOW = 10_000;

/** Leaves out users that no board shows. They have an index of their own, and are few, so that all others cost little. */
const shown = (row: string): string =>
  `not exists (select from users h where h.id = ${row}.user_id and (h.banned_at is not null or h.erased_at is not null))`;
const BOARD = `(select id from board_periods where leaderboard = :leaderboard and period = :period and starts_at = from_epoch_ms(:startsAt))`;
const COLUMNS = 's.user_id, s.score, epoch_ms(s.reached_at) as reached_at';
/** What follows an entry in the total order, and what precedes it, nearest first: two ranges of one index, read in its order. */
const directions = {
  after: { order: 's.score desc, s.reached_at, s.user_id collate "C"', further: '<', later: '>' },
  before: { order: 's.score, s.reached_at desc, s.user_id collate "C" desc', further: '>', later: '<' },
};
const ORDER = directions.after.order;

const bindings = (board: BoardRef) => ({
  leaderboard: board.leaderboard,
  period: board.period,
  startsAt: board.startsAt,
});

interface Figures {
  readonly version: number;
  readonly total: number;
  readonly updatedAt: number;
}

/** Figures may be older than entries that were read beside them, and must not contradict them. */
const fitting = (figures: Figures, total: number, entries: readonly { reachedAt: number }[]): Figures => ({
  ...figures,
  total: Math.max(figures.total, total),
  updatedAt: entries.reduce((latest, { reachedAt }) => Math.max(latest, reachedAt), figures.updatedAt),
});

export interface BoardTableOptions {
  /** How old a board's total and time of change may be, ms, so that those who ask meanwhile share one count; 0: counted anew. */
  readonly figuresMaxAgeMs?: number;
  /** Boards of fewer users are counted anew at each read all the same: that takes Postgres a moment. */
  readonly countedAnewBelow?: number;
}

/** Boards read from Postgres itself: the truth, and the fall-back while Redis is away. */
export class BoardTable implements BoardSource {
  readonly #db: Database;
  readonly #counts: LRUCache<string, Figures, BoardRef> | undefined;

  readonly #countedAnewBelow: number;

  constructor(
    db: Database,
    { figuresMaxAgeMs = 0, countedAnewBelow = COUNTED_ANEW_BELOW }: BoardTableOptions = {},
  ) {
    this.#db = db;
    this.#countedAnewBelow = countedAnewBelow;
    if (figuresMaxAgeMs === 0) return;
    this.#counts = new LRUCache({
      max: COUNTED_BOARDS,
      ttl: figuresMaxAgeMs,
      ignoreFetchAbort: true,
      fetchMethod: (_id, _old, { context }) => this.#count(context),
    });
  }

  async page(board: BoardRef, offset: number, limit: number): Promise<BoardPage> {
    const [figures, entries] = await Promise.all([this.#figures(board), this.#entries(board, offset, limit)]);
    return {
      ...fitting(figures, entries.length > 0 ? offset + entries.length : 0, entries),
      offset,
      entries,
    };
  }

  async after(board: BoardRef, last: Entry, limit: number): Promise<BoardPage> {
    const [figures, place, entries] = await Promise.all([
      this.#figures(board),
      this.#db.raw<{ rows: { offset: string }[] }>(
        `select count(*) as offset from scores s
         where s.board_period_id = ${BOARD} and ${shown('s')} and s.score >= :score and (s.score > :score
           or (s.reached_at, s.user_id collate "C") <= (from_epoch_ms(:reachedAt), :userId))`,
        { ...bindings(board), ...last },
      ),
      this.#beside('after', board, last, limit),
    ]);
    const offset = Number(place.rows[0]?.offset ?? 0);
    return { ...fitting(figures, offset + entries.length, entries), offset, entries };
  }

  async standings(board: BoardRef, userIds: readonly string[], neighbors: number): Promise<StandingsAnswer> {
    const [figures, { rows }] = await Promise.all([
      this.#figures(board),
      this.#db.raw<{ rows: (EntryRow & { rank: string })[] }>(
        `select m.user_id, m.score, epoch_ms(m.reached_at) as reached_at, 1 + (
           select count(*) from scores s
           where s.board_period_id = m.board_period_id and ${shown('s')} and s.score >= m.score and (s.score > m.score
             or (s.reached_at, s.user_id collate "C") < (m.reached_at, m.user_id collate "C"))) as rank
         from scores m
         where m.board_period_id = ${BOARD} and m.user_id = any (:userIds) and ${shown('m')}`,
        { ...bindings(board), userIds: [...userIds] },
      ),
    ]);
    const byUser = new Map(rows.map((row) => [row.user_id, { ...toEntry(row), rank: Number(row.rank) }]));
    const standings = userIds.map(
      (userId) => byUser.get(userId) ?? { userId, rank: null, score: 0, reachedAt: 0 },
    );
    const { version, total } = fitting(figures, Math.max(0, ...standings.map(({ rank }) => rank ?? 0)), []);
    const one = standings.length === 1 ? standings[0] : undefined;
    if (!one || one.rank === null || neighbors === 0)
      return { version, total, standings, neighbors: { offset: 0, entries: [] } };
    const { userId, score, reachedAt, rank } = one;
    const entry = { userId, score, reachedAt };
    const [above, below] = await Promise.all([
      this.#beside('before', board, entry, Math.min(neighbors, rank - 1)),
      this.#beside('after', board, entry, neighbors),
    ]);
    const entries = [...above.toReversed(), entry, ...below];
    return { version, total, standings, neighbors: { offset: rank - 1 - above.length, entries } };
  }

  async #entries(board: BoardRef, offset: number, limit: number): Promise<Entry[]> {
    if (limit === 0) return [];
    const { rows } = await this.#db.raw<{ rows: EntryRow[] }>(
      `select ${COLUMNS} from scores s
       where s.board_period_id = ${BOARD} and ${shown('s')}
       order by ${ORDER} offset :offset limit :limit`,
      { ...bindings(board), offset, limit },
    );
    return rows.map(toEntry);
  }

  /** The entries next to one in the total order, nearest first, wherever that one stands by now. */
  async #beside(
    direction: keyof typeof directions,
    board: BoardRef,
    entry: Entry,
    limit: number,
  ): Promise<Entry[]> {
    if (limit === 0) return [];
    const { order, further, later } = directions[direction];
    const range = (condition: string): string =>
      `(select s.user_id, s.score, s.reached_at from scores s
        where s.board_period_id = ${BOARD} and ${shown('s')} and ${condition} order by ${order} limit :limit)`;
    // Said as one condition, it would have Postgres look through all who have the same score.
    const { rows } = await this.#db.raw<{ rows: EntryRow[] }>(
      `select ${COLUMNS} from (
         ${range(`s.score = :score and (s.reached_at, s.user_id collate "C") ${later} (from_epoch_ms(:reachedAt), :userId)`)}
         union all ${range(`s.score ${further} :score`)}
       ) s order by ${order} limit :limit`,
      { ...bindings(board), ...entry, limit },
    );
    return rows.map(toEntry);
  }

  /** The version is counted in Redis only: here it is 0, which every client takes as older than what it has. */
  async #figures(board: BoardRef): Promise<Figures> {
    const id = boardId(board);
    const known = this.#counts?.get(id);
    const forceRefresh = known !== undefined && known.total < this.#countedAnewBelow;
    return (await this.#counts?.fetch(id, { context: board, forceRefresh })) ?? this.#count(board);
  }

  async #count(board: BoardRef): Promise<Figures> {
    const { rows } = await this.#db.raw<{ rows: { total: string; updated_at: string | null }[] }>(
      `select count(*) as total, epoch_ms(max(s.reached_at)) as updated_at
       from scores s where s.board_period_id = ${BOARD} and ${shown('s')}`,
      bindings(board),
    );
    return { version: 0, total: Number(rows[0]?.total ?? 0), updatedAt: Number(rows[0]?.updated_at ?? 0) };
  }

  /** The entries of some users, by user id; hidden users have none. */
  async entriesOf(board: BoardRef, userIds: readonly string[]): Promise<Map<string, Entry>> {
    const { rows } = await this.#db.raw<{ rows: EntryRow[] }>(
      `select ${COLUMNS} from scores s
       where s.board_period_id = ${BOARD} and s.user_id = any (:userIds) and ${shown('s')}`,
      { ...bindings(board), userIds: [...userIds] },
    );
    return new Map(rows.map((row) => [row.user_id, toEntry(row)]));
  }

  /**
   * All rows of a board in rank order, in chunks, hidden users left out. The next chunk is read while one is used, so that
   * memory is that of two. Each chunk is as Postgres has it when it is read: one that moves meanwhile may be seen twice, or
   * not at all.
   *
   * @param size rows a chunk
   */
  async *rows(board: BoardRef, size: number): AsyncGenerator<Entry[]> {
    let coming = this.#entries(board, 0, size);
    for (;;) {
      const entries = await coming;
      const last = entries.at(-1);
      if (!last) return;
      if (entries.length === size) coming = this.#beside('after', board, last, size);
      coming.catch(() => undefined); // told when it is asked for
      yield entries;
      if (entries.length < size) return;
    }
  }
}
