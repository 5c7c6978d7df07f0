import type { Database } from '../postgres.ts';
import type { BoardPage, BoardRef, BoardSource, Entry, StandingsAnswer } from './board.ts';

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

/** Leaves out users that no board shows: few, and found by an index of their own, so that a million others cost nothing. */
const shown = (row: string): string =>
  `${row}.user_id not in (select id from users where banned_at is not null or erased_at is not null)`;
const BOARD = `(select id from board_periods where leaderboard = :leaderboard and period = :period and starts_at = from_epoch_ms(:startsAt))`;
const ORDER = 's.score desc, s.reached_at, s.user_id collate "C"';
/** Whether row s stands before row m in the total order. */
const BEFORE = `(s.score > m.score or (s.score = m.score and (s.reached_at < m.reached_at
  or (s.reached_at = m.reached_at and s.user_id collate "C" < m.user_id collate "C"))))`;

/** Whether row s stands behind an entry in the total order. */
const AFTER = `(s.score <= :score and (s.score < :score or s.reached_at > from_epoch_ms(:reachedAt)
  or (s.reached_at = from_epoch_ms(:reachedAt) and s.user_id collate "C" > :userId)))`;

const bindings = (board: BoardRef) => ({
  leaderboard: board.leaderboard,
  period: board.period,
  startsAt: board.startsAt,
});

/** Boards read from Postgres itself: the truth, and the fall-back while Redis is away. */
export class BoardTable implements BoardSource {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  async page(board: BoardRef, offset: number, limit: number): Promise<BoardPage> {
    const [figures, entries] = await Promise.all([this.#figures(board), this.#entries(board, offset, limit)]);
    return { ...figures, offset, entries };
  }

  async after(board: BoardRef, last: Entry, limit: number): Promise<BoardPage> {
    const [figures, place] = await Promise.all([
      this.#figures(board),
      this.#db.raw<{ rows: { offset: string }[] }>(
        `select count(*) as offset from scores s
         where s.board_period_id = ${BOARD} and ${shown('s')} and not (${AFTER})`,
        { ...bindings(board), ...last },
      ),
    ]);
    const { rows } = await this.#db.raw<{ rows: EntryRow[] }>(
      `select s.user_id, s.score, epoch_ms(s.reached_at) as reached_at
       from scores s
       where s.board_period_id = ${BOARD} and ${shown('s')} and ${AFTER}
       order by ${ORDER} limit :limit`,
      { ...bindings(board), ...last, limit },
    );
    return { ...figures, offset: Number(place.rows[0]?.offset ?? 0), entries: rows.map(toEntry) };
  }

  async standings(board: BoardRef, userIds: readonly string[], neighbors: number): Promise<StandingsAnswer> {
    const figures = await this.#figures(board);
    const { rows } = await this.#db.raw<{ rows: (EntryRow & { rank: string })[] }>(
      `select m.user_id, m.score, epoch_ms(m.reached_at) as reached_at, 1 + (
         select count(*) from scores s 
         where s.board_period_id = m.board_period_id and s.score >= m.score and ${shown('s')} and ${BEFORE}) as rank
       from scores m
       where m.board_period_id = ${BOARD} and m.user_id = any (:userIds) and ${shown('m')}`,
      { ...bindings(board), userIds: [...userIds] },
    );
    const byUser = new Map(rows.map((row) => [row.user_id, row]));
    const standings = userIds.map((userId) => {
      const row = byUser.get(userId);
      return {
        userId,
        rank: row ? Number(row.rank) : null,
        score: Number(row?.score ?? 0),
        reachedAt: Number(row?.reached_at ?? 0),
      };
    });
    const rank = standings.length === 1 ? (standings[0]?.rank ?? null) : null;
    if (rank === null || neighbors === 0)
      return { ...figures, standings, neighbors: { offset: 0, entries: [] } };
    const first = Math.max(0, rank - 1 - neighbors);
    const entries = await this.#entries(board, first, rank + neighbors - first);
    return { ...figures, standings, neighbors: { offset: first, entries } };
  }

  async #entries(board: BoardRef, offset: number, limit: number): Promise<Entry[]> {
    if (limit === 0) return [];
    const { rows } = await this.#db.raw<{ rows: EntryRow[] }>(
      `select s.user_id, s.score, epoch_ms(s.reached_at) as reached_at
       from scores s
       where s.board_period_id = ${BOARD} and ${shown('s')}
       order by ${ORDER} offset :offset limit :limit`,
      { ...bindings(board), offset, limit },
    );
    return rows.map(toEntry);
  }

  /** The version is counted in Redis only: here it is 0, which every client takes as older than what it has. */
  async #figures(board: BoardRef): Promise<{ version: number; total: number; updatedAt: number }> {
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
      `select s.user_id, s.score, epoch_ms(s.reached_at) as reached_at
       from scores s
       where s.board_period_id = ${BOARD} and s.user_id = any (:userIds) and ${shown('s')}`,
      { ...bindings(board), userIds: [...userIds] },
    );
    return new Map(rows.map((row) => [row.user_id, toEntry(row)]));
  }

  /**
   * All rows of a board in rank order, in chunks, hidden users left out. Memory is that of one chunk.
   *
   * @param size rows a chunk
   */
  async *rows(board: BoardRef, size: number): AsyncGenerator<Entry[]> {
    let last: Entry | undefined;
    for (;;) {
      const after = last ? `and ${AFTER}` : '';
      const { rows } = await this.#db.raw<{ rows: EntryRow[] }>(
        `select s.user_id, s.score, epoch_ms(s.reached_at) as reached_at
         from scores s
         where s.board_period_id = ${BOARD} and ${shown('s')} ${after}
         order by ${ORDER} limit :size`,
        { ...bindings(board), ...last, size },
      );
      if (rows.length > 0) yield rows.map(toEntry);
      if (rows.length < size) return;
      last = toEntry(rows[rows.length - 1] as EntryRow);
    }
  }
}
