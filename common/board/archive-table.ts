import type { Database } from '../postgres.ts';
import type { BoardPage, BoardRef, BoardSource, Entry, StandingsAnswer } from './board.ts';

interface ClosedPeriod {
  id: number;
  total: string;
  archived_at: Date;
}

interface StandingRow {
  rank: number;
  user_id: string;
  score: string;
  reached_at: Date;
}

/** Frozen standings of closed periods. They read as a live board does, down to the place up to which they were kept. */
export class ArchiveTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** The archive of a board whose standings are frozen; undefined while they are not. */
  async of(board: BoardRef): Promise<BoardSource | undefined> {
    const period = await this.#db<ClosedPeriod & { leaderboard: string; period: string; starts_at: Date }>(
      'board_periods',
    )
      .where({ leaderboard: board.leaderboard, period: board.period, starts_at: new Date(board.startsAt) })
      .whereNotNull('archived_at')
      .first('id', 'total', 'archived_at');
    return period && new Archive(this.#db, period);
  }
}

class Archive implements BoardSource {
  readonly #db: Database;
  readonly #period: ClosedPeriod;

  constructor(db: Database, period: ClosedPeriod) {
    this.#db = db;
    this.#period = period;
  }

  async page(_board: BoardRef, offset: number, limit: number): Promise<BoardPage> {
    return { ...this.#figures(), offset, entries: await this.#entries(offset, limit) };
  }

  async after(_board: BoardRef, last: Entry, limit: number): Promise<BoardPage> {
    const { rows } = await this.#db.raw<{ rows: { offset: string }[] }>(
      `select count(*) as offset from standings s where s.board_period_id = :id and not (s.score <= :score and (s.score < :score
         or s.reached_at > from_epoch_ms(:reachedAt)
         or (s.reached_at = from_epoch_ms(:reachedAt) and s.user_id collate "C" > :userId)))`,
      { id: this.#period.id, ...last },
    );
    return this.page(_board, Number(rows[0]?.offset ?? 0), limit);
  }

  async standings(_board: BoardRef, userIds: readonly string[], neighbors: number): Promise<StandingsAnswer> {
    const rows = await this.#db<StandingRow & { board_period_id: number }>('standings')
      .where({ board_period_id: this.#period.id })
      .whereIn('user_id', [...userIds])
      .select('rank', 'user_id', 'score', 'reached_at');
    const byUser = new Map(rows.map((row) => [row.user_id, row]));
    const standings = userIds.map((userId) => {
      const row = byUser.get(userId);
      return {
        userId,
        rank: row?.rank ?? null,
        score: Number(row?.score ?? 0),
        reachedAt: row?.reached_at.getTime() ?? 0,
      };
    });
    const rank = userIds.length === 1 ? (standings[0]?.rank ?? null) : null;
    if (rank === null || neighbors === 0)
      return { ...this.#figures(), standings, neighbors: { offset: 0, entries: [] } };
    const offset = Math.max(0, rank - 1 - neighbors);
    return {
      ...this.#figures(),
      standings,
      neighbors: { offset, entries: await this.#entries(offset, rank + neighbors - offset) },
    };
  }

  async #entries(offset: number, limit: number) {
    const rows = await this.#db<StandingRow & { board_period_id: number }>('standings')
      .where({ board_period_id: this.#period.id })
      .andWhere('rank', '>', offset)
      .andWhere('rank', '<=', offset + limit)
      .orderBy('rank')
      .select('user_id', 'score', 'reached_at');
    return rows.map((row) => ({
      userId: row.user_id,
      score: Number(row.score),
      reachedAt: row.reached_at.getTime(),
    }));
  }

  /** Frozen standings have one version: the time at which they were frozen, later than any they had. */
  #figures() {
    const at = this.#period.archived_at.getTime();
    return { version: at, total: Number(this.#period.total), updatedAt: at };
  }
}
