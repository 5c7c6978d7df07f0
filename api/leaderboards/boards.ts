import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import {
  boardId,
  presentFigures,
  percentile,
  type BoardPage,
  type BoardRef,
  type BoardSource,
  type Entry,
} from '../../common/board/board.ts';
import type { PresentedState } from '../../common/board/board-state.ts';
import type { Archived, ArchiveTable } from '../../common/board/archive-table.ts';
import type { Catalog } from '../../common/catalog.ts';
import { userIdPattern } from '../../common/ids.ts';
import type { EventListener } from '../../common/events.ts';
import type { UserDirectory } from '../../common/users/user-directory.ts';
import { iso } from '../http/schemas.ts';

/** A board's page as it goes out: serialized once, sent many times. */
export interface RenderedPage {
  readonly body: string;
  readonly etag: string;
}

/** Where a page begins: at a place, or behind an entry that was seen. */
export type PageStart = { readonly offset: number } | { readonly after: Entry };

/** How long a past period is taken for frozen, or not yet, without asking again, milliseconds. */
const SOURCE_MS = 500;
const STANDINGS_A_READ = 100;

/** Tells boards and periods apart in cursors. */
const mark = (board: BoardRef): string =>
  createHash('sha256').update(boardId(board)).digest('base64url').slice(0, 8);

/** Names an entry of a board, so that the page behind it can be asked for. */
const encodeCursor = (board: BoardRef, { score, reachedAt, userId }: Entry): string =>
  Buffer.from(JSON.stringify([score, reachedAt, userId, mark(board)])).toString('base64url');

/** @returns the entry that a cursor names; undefined for a cursor of another board, period or date, and for anything else */
export function decodeCursor(board: BoardRef, cursor: string): Entry | undefined {
  try {
    const [score, reachedAt, userId, boardMark] = JSON.parse(
      Buffer.from(cursor, 'base64url').toString(),
    ) as unknown[];
    const wholes = [score, reachedAt].every((n) => Number.isSafeInteger(n) && (n as number) >= 0);
    if (!wholes || typeof userId !== 'string' || !userIdPattern.test(userId)) return undefined;
    if (boardMark !== mark(board)) return undefined;
    return { score: score as number, reachedAt: reachedAt as number, userId };
  } catch {
    return undefined;
  }
}

/** A page is at most this old, milliseconds: well inside the second in which every instance must show a change. */
const FRESH_MS = 250;
const PAGES = 5000;

/** Boards as clients see them. Pages are kept in memory, and dropped as soon as the event stream tells of a change. */
export class Boards {
  readonly #live: BoardSource;
  readonly #archives: ArchiveTable;
  readonly #directory: UserDirectory;
  readonly #catalog: Catalog;
  readonly #archived = new LRUCache<string, Promise<Archived | undefined>>({ max: 1000, ttl: SOURCE_MS });
  readonly #pages = new LRUCache<string, Promise<RenderedPage>>({ max: PAGES, ttl: FRESH_MS });
  readonly #versions = new LRUCache<string, number>({ max: PAGES });

  /** @param live what reads boards of periods that are open @param archives what reads frozen ones */
  constructor(live: BoardSource, archives: ArchiveTable, directory: UserDirectory, catalog: Catalog) {
    this.#live = live;
    this.#archives = archives;
    this.#directory = directory;
    this.#catalog = catalog;
  }

  async start(events: EventListener): Promise<void> {
    // Keys of pages begin with the version that they were asked for under: a new version leaves them behind.
    await events.onBoard((event) => this.#versions.set(boardId(event), event.version));
    await events.onChange((event) => {
      if (event.kind === 'user' || event.kind === 'users') this.#pages.clear();
    });
  }

  /** Boards are read from their archive once their standings are frozen. */
  async #source(board: BoardRef): Promise<BoardSource> {
    if (this.#isPresent(board) && !this.#catalog.endingOf(board)?.archivedAt) return this.#live;
    return (await this.#look(board))?.archive ?? this.#live;
  }

  async #state(board: BoardRef): Promise<PresentedState> {
    const isOpen = this.#isPresent(board) && !this.#catalog.endingOf(board);
    return this.#catalog.stateOf(board, isOpen ? undefined : (await this.#look(board))?.ending);
  }

  #isPresent({ endsAt }: BoardRef): boolean {
    return endsAt === null || endsAt > Date.now();
  }

  #look(board: BoardRef): Promise<Archived | undefined> {
    const id = boardId(board);
    const known = this.#archived.get(id);
    if (known) return known;
    const look = this.#archives.of(board);
    this.#archived.set(id, look);
    look.catch(() => this.#archived.delete(id));
    return look;
  }

  #keyOf(board: BoardRef, from: PageStart, limit: number): string {
    const start = 'after' in from ? encodeCursor(board, from.after) : from.offset;
    return `${this.#versions.get(boardId(board)) ?? 0}:${boardId(board)}:${start}:${limit}`;
  }

  /** The page that is in memory, if it is fresh. */
  freshPage(board: BoardRef, from: PageStart, limit: number): Promise<RenderedPage> | undefined {
    return this.#pages.get(this.#keyOf(board, from, limit));
  }

  /** A page, from memory when it is fresh. Many who ask at once cause one read. */
  page(board: BoardRef, from: PageStart, limit: number): Promise<RenderedPage> {
    const key = this.#keyOf(board, from, limit);
    const kept = this.#pages.get(key);
    if (kept) return kept;
    const page = this.#render(board, from, limit);
    this.#pages.set(key, page);
    page.catch(() => this.#pages.delete(key));
    return page;
  }

  /** Where one user stands, with the figures that follow from it. */
  async standing(board: BoardRef, userId: string, neighbors: number) {
    const answer = await (await this.#source(board)).standings(board, [userId], neighbors);
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
      this.#source(board).then((source) => source.standings(board, userIds, 0)),
      this.#directory.findMany(userIds),
    ]);
    return answer.standings.flatMap(({ userId, rank, score }) => {
      const profile = profiles.get(userId);
      return profile && !profile.erased ? [{ userId, username: profile.username, score, rank }] : [];
    });
  }

  /** The board as a few users make it: their ranks on the whole board, and their places among each other. */
  async among(board: BoardRef, userIds: readonly string[], offset: number, limit: number) {
    const source = await this.#source(board);
    const figures = await source.page(board, 0, 0);
    const ranked: { userId: string; rank: number; score: number; reachedAt: number }[] = [];
    for (let i = 0; i < userIds.length; i += STANDINGS_A_READ) {
      const { standings } = await source.standings(board, userIds.slice(i, i + STANDINGS_A_READ), 0);
      for (const { userId, rank, score, reachedAt } of standings) {
        if (rank !== null) ranked.push({ userId, rank, score, reachedAt });
      }
    }
    ranked.sort((a, b) => a.rank - b.rank);
    const shown = ranked.slice(offset, offset + limit);
    const entries = (await this.#present(0, shown)).map((entry, i) => ({
      ...entry,
      rank: shown[i]?.rank ?? entry.rank,
      position: offset + i + 1,
    }));
    return {
      ...presentFigures(board, figures),
      ...(await this.#state(board)),
      total: ranked.length,
      entries,
    };
  }

  async #render(board: BoardRef, from: PageStart, limit: number): Promise<RenderedPage> {
    const source = await this.#source(board);
    const page =
      'after' in from
        ? await source.after(board, from.after, limit)
        : await source.page(board, from.offset, limit);
    const body = JSON.stringify(await this.#presentPage(board, page));
    return { body, etag: `"${createHash('sha1').update(body).digest('base64url')}"` };
  }

  async #presentPage(board: BoardRef, page: BoardPage) {
    const last = page.entries.at(-1);
    return {
      ...presentFigures(board, page),
      ...(await this.#state(board)),
      entries: await this.#present(page.offset, page.entries),
      nextCursor: last && page.offset + page.entries.length < page.total ? encodeCursor(board, last) : null,
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
