import type { BoardRef } from './board/board.ts';
import { boardAt, boardId } from './board/board.ts';
import { presentState, type Ending, type PresentedState } from './board/board-state.ts';
import type { EventListener } from './events.ts';
import type { Logger } from './logger.ts';
import type { Period } from './periods.ts';
import { Refresher } from './refresher.ts';
import type { Database } from './postgres.ts';
import { isObject } from './validate.ts';

/** A leaderboard as operators define it. */
export interface Leaderboard {
  readonly key: string;
  readonly title: string;
  readonly scoreCap: number;
  readonly maxPointsPerUpdate: number;
  readonly periods: readonly Period[];
  readonly visibility: 'public' | 'private';
  /** ms since the epoch; null = always */
  readonly opensAt: number | null;
  readonly closesAt: number | null;
}

/** A kind of action, and what it is worth. */
export interface ActionType {
  readonly key: string;
  readonly title: string;
  readonly points: number;
  /** difficulty -> multiplier */
  readonly difficulties: Readonly<Record<string, number>>;
  /** where it may be played; null = everywhere */
  readonly leaderboards: readonly string[] | null;
  readonly minDurationMs: number;
  /** whether games may complete it by their own signature */
  readonly clientSigned: boolean;
}

interface LeaderboardRow {
  key: string;
  title: string;
  score_cap: string;
  max_points_per_update: string;
  periods: Period[];
  visibility: 'public' | 'private';
  opens_at: Date | null;
  closes_at: Date | null;
}

interface ActionTypeRow {
  key: string;
  title: string;
  points: number;
  difficulties: unknown;
  leaderboards: string[] | null;
  min_duration_ms: number;
  client_signed: boolean;
}

interface EndingRow {
  leaderboard: string;
  period: Period;
  starts_at: Date;
  closed_at: Date;
  archived_at: Date | null;
  corrected_at: Date | null;
}

/** The multipliers that can be used: one that was written by another hand must not cost the others their prices. */
const multipliersIn = (difficulties: unknown): Record<string, number> =>
  Object.fromEntries(
    Object.entries(isObject(difficulties) && !Array.isArray(difficulties) ? difficulties : {}).filter(
      (entry): entry is [string, number] => typeof entry[1] === 'number' && entry[1] >= 0,
    ),
  );

/** How often the catalog is read again although nobody said that it changed: an event may have been missed. */
const RELOAD_MS = 30_000;
const RETRY_MS = 1000;

/** Leaderboards and action types, kept in memory and fresh: a change reaches every process within a second. */
export class Catalog {
  readonly #db: Database;
  readonly #refresher: Refresher;
  #leaderboards = new Map<string, Leaderboard>();
  #actionTypes = new Map<string, ActionType>();
  /** by boards whose time is not over, and which were closed all the same */
  #endings = new Map<string, Ending>();
  #loaded = false;
  readonly #readers: (() => void)[] = [];

  constructor(db: Database, log: Logger) {
    this.#db = db;
    this.#refresher = new Refresher({
      what: 'catalog',
      read: () => this.reload(),
      everyMs: RELOAD_MS,
      retryMs: RETRY_MS,
      log,
    });
  }

  /** Reads the catalog, listens for changes, and looks again from time to time. Tries for ever while Postgres is away. */
  async start(events: EventListener): Promise<void> {
    await events.onChange((event) => {
      if (event.kind === 'catalog') void this.#refresher.now();
    });
    events.onResumed(() => void this.#refresher.now());
    await this.#refresher.now();
  }

  stop(): void {
    this.#refresher.stop();
  }

  /** Calls back whenever the catalog has been read, whether or not it changed. */
  onRead(handle: () => void): void {
    this.#readers.push(handle);
  }

  /** Whether the catalog has been read at least once. */
  get loaded(): boolean {
    return this.#loaded;
  }

  leaderboard(key: string): Leaderboard | undefined {
    return this.#leaderboards.get(key);
  }

  actionType(key: string): ActionType | undefined {
    return this.#actionTypes.get(key);
  }

  get actionTypes(): readonly ActionType[] {
    return [...this.#actionTypes.values()];
  }

  get leaderboards(): readonly Leaderboard[] {
    return [...this.#leaderboards.values()];
  }

  /** What is known of the end of a board whose time is not over: undefined unless somebody closed it. */
  endingOf(board: BoardRef): Ending | undefined {
    return this.#endings.get(boardId(board));
  }

  /** A board's state as clients get it. @param ending of a board of the past, what Postgres says */
  stateOf(board: BoardRef, ending = this.endingOf(board)): PresentedState {
    return presentState(board, ending, this.leaderboard(board.leaderboard)?.closesAt ?? null, Date.now());
  }

  /** Every board in every period that holds the instant. */
  boardsAt(at: number): BoardRef[] {
    return this.leaderboards.flatMap(({ key, periods }) => periods.map((period) => boardAt(key, period, at)));
  }

  /** Reads the catalog now. @throws when Postgres is away */
  async reload(): Promise<void> {
    const [leaderboards, actionTypes, endings] = await Promise.all([
      this.#db<LeaderboardRow>('leaderboards').whereNull('archived_at').orderByRaw(`key <> 'global', key`),
      this.#db<ActionTypeRow>('action_types').whereNull('archived_at').orderBy('points').orderBy('key'),
      this.#db<EndingRow>('board_periods')
        .whereNotNull('closed_at')
        .andWhere((query) => void query.whereNull('ends_at').orWhere('ends_at', '>', new Date()))
        .select('leaderboard', 'period', 'starts_at', 'closed_at', 'archived_at', 'corrected_at'),
    ]);
    this.#endings = new Map(
      endings.map((row) => [
        boardId(boardAt(row.leaderboard, row.period, row.starts_at.getTime())),
        {
          closedAt: row.closed_at.getTime(),
          archivedAt: row.archived_at?.getTime() ?? null,
          correctedAt: row.corrected_at?.getTime() ?? null,
        },
      ]),
    );
    this.#leaderboards = new Map(
      leaderboards.map((row) => [
        row.key,
        {
          key: row.key,
          title: row.title,
          scoreCap: Number(row.score_cap),
          maxPointsPerUpdate: Number(row.max_points_per_update),
          periods: row.periods,
          visibility: row.visibility,
          opensAt: row.opens_at?.getTime() ?? null,
          closesAt: row.closes_at?.getTime() ?? null,
        },
      ]),
    );
    this.#actionTypes = new Map(
      actionTypes.map((row) => [
        row.key,
        {
          key: row.key,
          title: row.title,
          points: row.points,
          difficulties: multipliersIn(row.difficulties),
          leaderboards: row.leaderboards,
          minDurationMs: row.min_duration_ms,
          clientSigned: row.client_signed,
        },
      ]),
    );
    this.#loaded = true;
    for (const handle of this.#readers) handle();
  }
}
