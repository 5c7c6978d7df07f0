import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import {
  boardId,
  percentile,
  type BoardPage,
  type BoardRef,
  type BoardSource,
  type Entry,
} from '../../common/board/board.ts';
import type { EventListener } from '../../common/events.ts';
import type { UserDirectory } from '../../common/users/user-directory.ts';
import { iso } from '../http/schemas.ts';

/** A board's page as it goes out: serialized once, sent many times. */
export interface RenderedPage {
  readonly body: string;
  readonly etag: string;
}

/** A page is at most this old, milliseconds: well inside the second in which every instance must show a change. */
const FRESH_MS = 250;
const PAGES = 5000;

/** Boards as clients see them. Pages are kept in memory, and dropped as soon as the event stream tells of a change. */
export class Boards {
  readonly #source: BoardSource;
  readonly #directory: UserDirectory;
  readonly #pages = new LRUCache<string, Promise<RenderedPage>>({ max: PAGES, ttl: FRESH_MS });
  readonly #versions = new LRUCache<string, number>({ max: PAGES });

  constructor(source: BoardSource, directory: UserDirectory) {
    this.#source = source;
    this.#directory = directory;
  }

  async start(events: EventListener): Promise<void> {
    // Keys of pages begin with the version that they were asked for under: a new version leaves them behind.
    await events.onBoard((event) => this.#versions.set(boardId(event), event.version));
    await events.onChange((event) => {
      if (event.kind === 'user') this.#pages.clear();
    });
  }

  /** A page, from memory when it is fresh. Many who ask at once cause one read. */
  page(board: BoardRef, offset: number, limit: number): Promise<RenderedPage> {
    const key = `${this.#versions.get(boardId(board)) ?? 0}:${boardId(board)}:${offset}:${limit}`;
    const kept = this.#pages.get(key);
    if (kept) return kept;
    const page = this.#render(board, offset, limit);
    this.#pages.set(key, page);
    page.catch(() => this.#pages.delete(key));
    return page;
  }

  /** Where one user stands, with the figures that follow from it. */
  async standing(board: BoardRef, userId: string, neighbors: number) {
    const answer = await this.#source.standings(board, [userId], neighbors);
    const { rank, score } = answer.standings[0] ?? { rank: null, score: 0 };
    const { offset, entries } = answer.neighbors;
    return {
      score,
      rank,
      usersAbove: rank === null ? null : rank - 1,
      usersBelow: rank === null ? null : answer.total - rank,
      total: answer.total,
      percentile: percentile(rank, answer.total),
      neighbors: await this.#present(offset, entries),
    };
  }

  /** Where up to 100 users stand; those that do not exist are left out. */
  async ranks(board: BoardRef, userIds: readonly string[]) {
    const [answer, profiles] = await Promise.all([
      this.#source.standings(board, userIds, 0),
      this.#directory.findMany(userIds),
    ]);
    return answer.standings.flatMap(({ userId, rank, score }) => {
      const profile = profiles.get(userId);
      return profile && !profile.erased ? [{ userId, username: profile.username, score, rank }] : [];
    });
  }

  async #render(board: BoardRef, offset: number, limit: number): Promise<RenderedPage> {
    const page = await this.#source.page(board, offset, limit);
    const body = JSON.stringify(await this.#presentPage(board, page));
    return { body, etag: `"${createHash('sha1').update(body).digest('base64url')}"` };
  }

  async #presentPage(board: BoardRef, page: BoardPage) {
    return {
      leaderboard: board.leaderboard,
      period: board.period,
      periodStart: board.endsAt === null ? null : iso(board.startsAt),
      periodEnd: board.endsAt === null ? null : iso(board.endsAt),
      version: page.version,
      total: page.total,
      updatedAt: page.updatedAt === 0 ? null : iso(page.updatedAt),
      entries: await this.#present(page.offset, page.entries),
    };
  }

  async #present(offset: number, entries: readonly Entry[]) {
    const profiles = await this.#directory
      .findMany(entries.map(({ userId }) => userId))
      .catch(() => new Map());
    return entries.map(({ userId, score, reachedAt }, i) => {
      const profile = profiles.get(userId) as { username: string; avatarUrl: string | null } | undefined;
      return {
        rank: offset + i + 1,
        userId,
        // Without either store the name is not known; the id still tells who it is.
        username: profile?.username ?? userId,
        avatarUrl: profile?.avatarUrl ?? null,
        score,
        updatedAt: iso(reachedAt),
      };
    });
  }
}
