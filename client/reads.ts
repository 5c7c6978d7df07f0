import type { Query } from './http.ts';
import type { Session } from './session.ts';
import type {
  Achievement,
  ActionType,
  BoardPage,
  Friend,
  FriendsBoard,
  History,
  LeaderboardInfo,
  Me,
  MePatch,
  Period,
  Ranks,
  Standing,
  User,
} from './types.ts';

/** Bodies kept for `If-None-Match`; the least recently used goes first. */
const REMEMBERED_MAX = 50;

/** Which part of which board. */
export interface BoardQuery {
  /** Default `all`. */
  period?: Period;
  /** `YYYY-MM-DD`, any day of a past period; not with `all`. */
  date?: string;
  /** 1 to 100, default 10. */
  limit?: number;
  /** Default 0. */
  offset?: number;
  /** `nextCursor` of the page before, in place of an offset: neither skips nor repeats while scores change. */
  cursor?: string;
  signal?: AbortSignal;
}

/** Reads boards, users and friends. */
export class Reads {
  readonly #session: Session;
  readonly #remembered = new Map<string, { etag: string; body: BoardPage }>();

  constructor(session: Session) {
    this.#session = session;
  }

  async leaderboards(): Promise<LeaderboardInfo[]> {
    const body = await this.#get<{ leaderboards: LeaderboardInfo[] }>('/leaderboards');
    return body.leaderboards;
  }

  async actionTypes(): Promise<ActionType[]> {
    return (await this.#get<{ actionTypes: ActionType[] }>('/action-types')).actionTypes;
  }

  /** The very same object as before, where the board has not changed. */
  leaderboard(key: string, options: BoardQuery = {}): Promise<BoardPage> {
    return this.#board(key, options, false);
  }

  /** As {@link leaderboard}, tried once: for a caller that asks again and again. */
  poll(key: string, options: BoardQuery): Promise<BoardPage> {
    return this.#board(key, options, true);
  }

  /** @param options `neighbors`: how many users on each side, 0 to 25 */
  standing(
    key: string,
    userId: string,
    options: { period?: Period; neighbors?: number } = {},
  ): Promise<Standing> {
    return this.#get(`/leaderboards/${encodeURIComponent(key)}/users/${encodeURIComponent(userId)}`, options);
  }

  /** @param userIds at most 100 */
  async ranks(key: string, userIds: readonly string[], options: { period?: Period } = {}): Promise<Ranks> {
    const path = `/leaderboards/${encodeURIComponent(key)}/ranks`;
    const request = { method: 'POST', path, query: options, body: { userIds } } as const;
    return (await this.#session.send<Ranks>(request, 'optional')).body;
  }

  friendsBoard(
    key: string,
    options: { period?: Period; limit?: number; offset?: number } = {},
  ): Promise<FriendsBoard> {
    return this.#get(`/leaderboards/${encodeURIComponent(key)}/friends`, options);
  }

  me(): Promise<Me> {
    return this.#get('/users/me');
  }

  async updateMe(patch: MePatch): Promise<Me> {
    return (await this.#session.send<Me>({ method: 'PATCH', path: '/users/me', body: patch })).body;
  }

  user(userId: string): Promise<User> {
    return this.#get(`/users/${encodeURIComponent(userId)}`);
  }

  /** @param options `period`: how far back, such as `7d` */
  history(userId: string, options: { leaderboard?: string; period?: string } = {}): Promise<History> {
    return this.#get(`/users/${encodeURIComponent(userId)}/history`, options);
  }

  async achievements(userId: string): Promise<Achievement[]> {
    const path = `/users/${encodeURIComponent(userId)}/achievements`;
    return (await this.#get<{ achievements: Achievement[] }>(path)).achievements;
  }

  async friends(): Promise<Friend[]> {
    return (await this.#get<{ friends: Friend[] }>('/users/me/friends')).friends;
  }

  /** One-way and at once; twice is once. */
  async addFriend(userId: string): Promise<void> {
    await this.#session.send({ method: 'PUT', path: `/users/me/friends/${encodeURIComponent(userId)}` });
  }

  async removeFriend(userId: string): Promise<void> {
    await this.#session.send({ method: 'DELETE', path: `/users/me/friends/${encodeURIComponent(userId)}` });
  }

  /** Everything that the service holds about the player. */
  exportMe(): Promise<unknown> {
    // A retry would cost one of the few exports of a day.
    return this.#session.send<unknown>({ path: '/users/me/export', once: true }).then(({ body }) => body);
  }

  /** Erases the current user's personal data for good. */
  async deleteMe(input: { password?: string }): Promise<void> {
    await this.#session.send({ method: 'DELETE', path: '/users/me', body: input });
  }

  async #board(key: string, options: BoardQuery, once: boolean): Promise<BoardPage> {
    const { signal, ...query } = options;
    const path = `/leaderboards/${encodeURIComponent(key)}`;
    const name = `${path}?${JSON.stringify([query.period, query.date, query.limit, query.offset, query.cursor])}`;
    const known = this.#remembered.get(name);
    const answer = await this.#session.send<BoardPage>(
      { path, query, signal, once, ...(known && { headers: { 'if-none-match': known.etag } }) },
      'optional',
    );
    this.#remembered.delete(name);
    const etag = answer.headers.get('etag') ?? known?.etag;
    const body = answer.status === 304 && known ? known.body : answer.body;
    if (etag) this.#remembered.set(name, { etag, body });
    const [oldest] = this.#remembered.keys();
    if (this.#remembered.size > REMEMBERED_MAX && oldest) this.#remembered.delete(oldest);
    return body;
  }

  async #get<T>(path: string, query: Query = {}): Promise<T> {
    return (await this.#session.send<T>({ path, query }, 'optional')).body;
  }
}
