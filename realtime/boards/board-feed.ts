import {
  presentFigures,
  boardAt,
  boardId,
  type BoardRef,
  type BoardSource,
  type Entry,
} from '../../common/board/board.ts';
import type { BoardState, PresentedState } from '../../common/board/board-state.ts';
import type { BoardEvent } from '../../common/events.ts';
import type { Logger } from '../../common/logger.ts';
import type { Period } from '../../common/periods.ts';
import type { UserDirectory } from '../../common/users/user-directory.ts';

/** How many entries watchers see. */
const TOP = 10;

/** An entry as watchers get it. */
export interface FeedEntry {
  readonly rank: number;
  readonly userId: string;
  readonly username: string;
  readonly avatarUrl: string | null;
  readonly score: number;
  readonly updatedAt: string;
}

/** A board as it stands: what a new watcher gets. */
export interface Snapshot {
  readonly leaderboard: string;
  readonly period: Period;
  readonly periodStart: string | null;
  readonly periodEnd: string | null;
  readonly version: number;
  readonly total: number;
  readonly updatedAt: string | null;
  readonly state: BoardState;
  readonly closedAt: string | null;
  readonly correctedAt: string | null;
  readonly entries: readonly FeedEntry[];
}

/** One user who scored since the frame before. Ranks are 1-based, null for none; relative to that frame. */
interface FrameChange {
  readonly userId: string;
  readonly username: string;
  readonly oldRank: number | null;
  readonly newRank: number;
  readonly score: number;
  readonly delta: number;
}

/** What changed since the frame before, and the top 10 as it is now. */
export interface Frame {
  readonly type: 'LEADERBOARD_REFRESH';
  readonly leaderboard: string;
  readonly period: Period;
  readonly version: number;
  readonly previousVersion: number;
  readonly timestamp: string;
  readonly total: number;
  readonly changes: readonly FrameChange[];
  readonly entries: readonly FeedEntry[];
}

interface State {
  readonly board: BoardRef;
  readonly version: number;
  readonly total: number;
  readonly at: number;
  readonly entries: readonly FeedEntry[];
}

export interface FeedDeps {
  /** where a watched board is read for the first time: Redis, or Postgres while Redis is away */
  readonly source: BoardSource;
  /** where it is read again: Redis alone, which counts its versions */
  readonly index: BoardSource;
  readonly directory: UserDirectory;
  readonly log: Logger;
  /** changes within this time go out as one frame, milliseconds */
  readonly windowMs: number;
  /** whether frames of the leaderboard may be sent just now */
  readonly broadcasts: (leaderboard: string) => boolean;
  /** whether a board is open, and since when it is not */
  readonly stateOf: (board: BoardRef) => PresentedState;
  /**
   * Sends a frame to all who watch the board at this instance right now. Resolves when it was handed to all of them; the
   * next one waits for that.
   */
  readonly emit: (frame: Frame) => Promise<void>;
}

const RETRY_MS = 500;
/**
 * A Redis that lost its last second counts below versions that watchers have seen, until its boards are renewed. So long
 * that is waited for, milliseconds; then the lower version is taken for the true one.
 */
const BEHIND_PATIENCE_MS = 5000;
/** setTimeout's own limit; a longer wait is taken in parts. */
const LONGEST_TIMER_MS = 2_147_483_647;
const iso = (ms: number): string => new Date(ms).toISOString();

/**
 * One watched board at one instance: its newest state, and the state that watchers have. Events bring it forward one
 * version at a time; whenever one is missing, the board is read anew. Watchers hear of it in frames, each of which names
 * the version of the frame before, so that they see a gap themselves.
 */
export class BoardFeed {
  readonly #leaderboard: string;
  readonly #period: Period;
  readonly #deps: FeedDeps;
  /** Work on the state goes one after another. */
  #line: Promise<void> = Promise.resolve();
  #newest: State | undefined;
  #sent: State | undefined;
  /** what events told of users since the last frame; needed of those who were not in its top 10 */
  readonly #changed = new Map<string, { oldRank: number | null; delta: number }>();
  #countedAt = 0;
  #flushTimer: NodeJS.Timeout | undefined;
  /** a frame is on its way; the next one must not overtake it */
  #sending = false;
  #turnTimer: NodeJS.Timeout | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #closed = false;
  #joining = 0;
  #sentAt = -Infinity;
  /** how many windows the last frame takes up */
  #windows = 1;
  #behindSince: number | undefined;

  constructor(leaderboard: string, period: Period, deps: FeedDeps) {
    this.#leaderboard = leaderboard;
    this.#period = period;
    this.#deps = deps;
  }

  /**
   * The board as the last frame shows it, which may still be on its way to others: the next one follows on the snapshot.
   * The callback runs in the same turn; a watcher who joins in it misses nothing and hears nothing twice.
   *
   * @throws when neither store can be read
   */
  async snapshot<T>(join: (snapshot: Snapshot) => T): Promise<T> {
    this.#joining += 1;
    try {
      await this.#enqueue(async () => {
        if (this.#newest) await this.#recount(this.#newest);
        else await this.#read();
      });
    } finally {
      this.#joining -= 1;
    }
    // While the board is muted its watchers fall behind; the first frame afterwards shows them, and this one, the gap.
    const state = this.#deps.broadcasts(this.#leaderboard) ? this.#sent : this.#newest;
    if (!state) throw new Error('the board could not be read');
    return join(this.#present(state));
  }

  /** Whether somebody is about to join, so that the feed must go on although nobody is in its room. */
  get joining(): boolean {
    return this.#joining > 0;
  }

  /** Takes an event of this board. */
  take(event: BoardEvent): void {
    void this.#enqueue(async () => {
      const state = this.#newest;
      if (!state || boardId(event) !== boardId(state.board) || event.version <= state.version) return;
      const { version, at, total, changes } = event;
      const isNext = version === state.version + 1 && !event.reset;
      if (!isNext || !event.entries || !changes || total === undefined) return this.#read();
      const entries = event.entries.map(([userId, score, reachedAt]) => ({ userId, score, reachedAt }));
      const named = await this.#name(entries);
      for (const [userId, oldRank, , , delta] of changes) {
        const known = this.#changed.get(userId);
        this.#changed.set(userId, {
          oldRank: known ? known.oldRank : oldRank < 0 ? null : oldRank + 1,
          delta: (known?.delta ?? 0) + delta,
        });
      }
      this.#newest = { board: state.board, version, total, at, entries: named };
      this.#schedule();
    }).catch((error: unknown) => this.#retry(error));
  }

  /** Reads the board anew, because events may have been missed. */
  resync(): void {
    if (!this.#newest) return;
    void this.#enqueue(() => this.#read()).catch((error: unknown) => this.#retry(error));
  }

  /** A user was renamed, or has another picture: clients that join from now on see it. */
  renamed(userId: string): void {
    const shown = (state: State | undefined) => state?.entries.some((entry) => entry.userId === userId);
    if (!shown(this.#newest) && !shown(this.#sent)) return;
    void this.#enqueue(async () => {
      const profile = await this.#deps.directory.find(userId);
      if (!profile) return;
      const { username, avatarUrl } = profile;
      const rename = (state: State | undefined): State | undefined =>
        state && {
          ...state,
          entries: state.entries.map((entry) =>
            entry.userId === userId ? { ...entry, username, avatarUrl } : entry,
          ),
        };
      this.#newest = rename(this.#newest);
      this.#sent = rename(this.#sent);
    }).catch(() => undefined);
  }

  /** Sends what was held back while the leaderboard was muted. */
  unmuted(): void {
    if (this.#newest && this.#newest.version !== this.#sent?.version) this.#schedule();
  }

  close(): void {
    this.#closed = true;
    for (const timer of [this.#flushTimer, this.#turnTimer, this.#retryTimer]) clearTimeout(timer);
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    const done = this.#line.then(work);
    this.#line = done.catch(() => undefined);
    return done;
  }

  #retry(error: unknown): void {
    if (this.#closed) return;
    this.#deps.log.debug(
      { err: error, leaderboard: this.#leaderboard, period: this.#period },
      'a board could not be read yet',
    );
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.resync(), RETRY_MS);
  }

  /** Reads the board; the first reading is what watchers start from, later ones are sent as far as they are news. */
  async #read(): Promise<void> {
    const board = boardAt(this.#leaderboard, this.#period, Date.now());
    const before = this.#newest;
    const page = await this.#deps[before ? 'index' : 'source'].page(board, 0, TOP);
    if (before?.version === page.version && boardId(before.board) === boardId(board)) {
      this.#behindSince = undefined;
      return;
    }
    const entries = await this.#name(page.entries);
    const read: State = { board, version: page.version, total: page.total, at: page.updatedAt, entries };
    this.#turnAt(board);
    if (!before) {
      this.#newest = read;
      this.#sent = read;
      if (read.version === 0) this.#retry(new Error('the board was read from Postgres'));
      return;
    }
    const turned = boardId(before.board) !== boardId(board);
    if (read.version < before.version && !turned) {
      this.#behindSince ??= Date.now();
      if (Date.now() - this.#behindSince < BEHIND_PATIENCE_MS)
        return this.#retry(new Error('Redis counts below a version that was sent'));
    }
    this.#behindSince = undefined;
    this.#changed.clear();
    if (!turned)
      for (const { userId, score } of entries) this.#changed.set(userId, { oldRank: null, delta: score });
    this.#newest = read;
    this.#schedule();
  }

  /** Players below the top 10 arrive without an event: a client that joins gets their present number. */
  async #recount({ board }: State): Promise<void> {
    if (Date.now() - this.#countedAt < this.#deps.windowMs) return;
    this.#countedAt = Date.now();
    const figures = await this.#deps.source.page(board, 0, 0).catch(() => undefined);
    if (!figures) return;
    const now = { total: figures.total, at: figures.updatedAt };
    if (this.#newest) this.#newest = { ...this.#newest, ...now };
    if (this.#sent) this.#sent = { ...this.#sent, ...now };
  }

  /** At the end of the period the next one's board takes the place of this one. */
  #turnAt(board: BoardRef): void {
    clearTimeout(this.#turnTimer);
    if (board.endsAt === null || this.#closed) return;
    const wait = Math.min(board.endsAt - Date.now() + 1, LONGEST_TIMER_MS);
    this.#turnTimer = setTimeout(() => this.resync(), wait).unref();
  }

  /**
   * After a quiet time a change goes out at once. The window that it did not wait for is added to the one after it, so that
   * no burst makes more frames than there are windows.
   */
  #schedule(): void {
    if (this.#closed || this.#flushTimer || this.#sending) return;
    const due = this.#sentAt + this.#deps.windowMs * this.#windows;
    const wait = Math.ceil(due - performance.now());
    this.#windows = wait > 0 ? 1 : 2;
    if (wait > 0) this.#flushTimer = setTimeout(() => this.#flush(), wait);
    else this.#flush();
  }

  #flush(): void {
    this.#flushTimer = undefined;
    const [from, to] = [this.#sent, this.#newest];
    if (!from || !to || from.version === to.version || !this.#deps.broadcasts(this.#leaderboard)) return;
    const before = new Map(
      boardId(from.board) === boardId(to.board) ? from.entries.map((entry) => [entry.userId, entry]) : [],
    );
    const changes = to.entries.flatMap(({ userId, username, rank, score }) => {
      const old = before.get(userId);
      // Events tell ranks as they were in between; what watchers saw last tells those of the frame before.
      const change = old ? { oldRank: old.rank, delta: score - old.score } : this.#changed.get(userId);
      if (!change || change.delta === 0) return [];
      return [{ userId, username, oldRank: change.oldRank, newRank: rank, score, delta: change.delta }];
    });
    this.#changed.clear();
    this.#sent = to;
    this.#sentAt = performance.now();
    this.#sending = true;
    const frame: Frame = {
      type: 'LEADERBOARD_REFRESH',
      leaderboard: this.#leaderboard,
      period: this.#period,
      version: to.version,
      previousVersion: from.version,
      timestamp: iso(to.at),
      total: to.total,
      changes,
      entries: to.entries,
    };
    void this.#deps.emit(frame).then(() => {
      this.#sending = false;
      if (this.#newest?.version !== this.#sent?.version) this.#schedule();
    });
  }

  async #name(entries: readonly Entry[]): Promise<FeedEntry[]> {
    const profiles = await this.#deps.directory
      .findMany(entries.map(({ userId }) => userId))
      .catch(() => undefined);
    return entries.map(({ userId, score, reachedAt }, i) => {
      const profile = profiles?.get(userId);
      return {
        rank: i + 1,
        userId,
        username: profile?.username ?? userId,
        avatarUrl: profile?.avatarUrl ?? null,
        score,
        updatedAt: iso(reachedAt),
      };
    });
  }

  #present({ board, version, total, at, entries }: State): Snapshot {
    return {
      ...presentFigures(board, { version, total, updatedAt: at }),
      ...this.#deps.stateOf(board),
      entries,
    };
  }
}
