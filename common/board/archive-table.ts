import type { Database } from '../postgres.ts';
import type { BoardPage, BoardRef, BoardSource, Entry, StandingsAnswer } from './board.ts';
import type { Ending } from './board-state.ts';

interface PeriodRow {
  id: number;
  leaderboard: string;
  period: string;
  starts_at: Date;
  closed_at: Date | null;
  archived_at: Date | null;
  corrected_at: Date | null;
}

interface FrozenPeriod {
  readonly id: number;
  /** when its standings were last written, ms */
  readonly at: number;
}

interface StandingRow {
  rank: string;
  user_id: string;
  score: string;
  reached_at: Date;
}

/** What Postgres knows of a board's end, and its frozen standings when it has some. */
export interface Archived {
  readonly ending: Ending;
  readonly archive: BoardSource | undefined;
}

/** Banned users are left out while they are banned: those behind them close up. Erased ones stay, under a name that says nothing. */
const shown = `not exists (select from users h where h.id = s.user_id and h.banned_at is not null)`;

/** Frozen standings of closed periods. They read as a live board does, down to the place up to which they were kept. */
export class ArchiveTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** @returns undefined for a board of which Postgres knows nothing */
  async of(board: BoardRef): Promise<Archived | undefined> {
    const row = await this.#db<PeriodRow>('board_periods')
      .where({
        leaderboard: board.leaderboard,
        period: board.period,
        starts_at: new Date(board.startsAt),
      })
      .first('id', 'closed_at', 'archived_at', 'corrected_at');
    if (!row) return undefined;
    const [closedAt, archivedAt, correctedAt] = [row.closed_at, row.archived_at, row.corrected_at].map(
      (at) => at?.getTime() ?? null,
    ) as [number | null, number | null, number | null];
    return {
      ending: { closedAt, archivedAt, correctedAt },
      archive:
        archivedAt === null
          ? undefined
          : new Archive(this.#db, { id: row.id, at: Math.max(archivedAt, correctedAt ?? 0) }),
    };
  }
}

class Archive implements BoardSource {
  readonly #db: Database;
  readonly #period: FrozenPeriod;

  constructor(db: Database, period: FrozenPeriod) {
    this.#db = db;
    this.#period = period;
  }

  async page(_board: BoardRef, offset: number, limit: number): Promise<BoardPage> {
    const [figures, entries] = await Promise.all([this.#figures(), this.#entries(offset, limit)]);
    return { ...figures, offset, entries };
  }

  async after(board: BoardRef, last: Entry, limit: number): Promise<BoardPage> {
    const { rows } = await this.#db.raw<{ rows: { offset: string }[] }>(
      `select count(*) as offset from standings s where s.board_period_id = :id and ${shown}
         and not (s.score <= :score and (s.score < :score or s.reached_at > from_epoch_ms(:reachedAt)
           or (s.reached_at = from_epoch_ms(:reachedAt) and s.user_id collate "C" > :userId)))`,
      { id: this.#period.id, ...last },
    );
    return this.page(board, Number(rows[0]?.offset ?? 0), limit);
  }

  async standings(_board: BoardRef, userIds: readonly string[], neighbors: number): Promise<StandingsAnswer> {
    const [figures, { rows }] = await Promise.all([
      this.#figures(),
      this.#db.raw<{ rows: StandingRow[] }>(
        `select s.user_id, s.score, s.reached_at, s.rank - (
           select count(*) from users h join standings b on b.board_period_id = s.board_period_id and b.user_id = h.id
           where h.banned_at is not null and b.rank < s.rank) as rank
         from standings s where s.board_period_id = :id and s.user_id = any (:userIds) and ${shown}`,
        { id: this.#period.id, userIds: [...userIds] },
      ),
    ]);
    const byUser = new Map(rows.map((row) => [row.user_id, row]));
    const standings = userIds.map((userId) => {
      const row = byUser.get(userId);
      return {
        userId,
        rank: row ? Number(row.rank) : null,
        score: Number(row?.score ?? 0),
        reachedAt: row?.reached_at.getTime() ?? 0,
      };
    });
    const rank = userIds.length === 1 ? (standings[0]?.rank ?? null) : null;
    if (rank === null || neighbors === 0)
      return { ...figures, standings, neighbors: { offset: 0, entries: [] } };
    const offset = Math.max(0, rank - 1 - neighbors);
    const entries = await this.#entries(offset, rank + neighbors - offset);
    return { ...figures, standings, neighbors: { offset, entries } };
  }

  async #entries(offset: number, limit: number): Promise<Entry[]> {
    if (limit === 0) return [];
    const { rows } = await this.#db.raw<{ rows: StandingRow[] }>(
      `select s.user_id, s.score, s.reached_at from standings s
       where s.board_period_id = :id and ${shown} order by s.rank offset :offset limit :limit`,
      { id: this.#period.id, offset, limit },
    );
    return rows.map((row) => ({
      userId: row.user_id,
      score: Number(row.score),
      reachedAt: row.reached_at.getTime(),
    }));
  }

  /** Frozen standings have one version: the time at which they were last written, later than any they had live. */
  async #figures(): Promise<{ version: number; total: number; updatedAt: number }> {
    const { rows } = await this.#db.raw<{ rows: { total: string }[] }>(
      `select greatest(0, bp.total - (
         select count(*) from users h join scores s on s.user_id = h.id and s.board_period_id = bp.id
         where h.banned_at is not null and (h.erased_at is null or h.erased_at > bp.archived_at))) as total
       from board_periods bp where bp.id = :id`,
      { id: this.#period.id },
    );
    const { at } = this.#period;
    return { version: at, total: Number(rows[0]?.total ?? 0), updatedAt: at };
  }
}
