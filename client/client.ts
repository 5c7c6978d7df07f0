import { Actions } from './actions.ts';
import type { CompleteOptions, StartOptions } from './actions.ts';
import { Http, serviceUrl } from './http.ts';
import { Logins } from './logins.ts';
import { onPlatform } from './platform.ts';
import { Reads } from './reads.ts';
import type { BoardQuery } from './reads.ts';
import { Session } from './session.ts';
import type {
  Achievement,
  ActionPage,
  ActionStatus,
  ActionType,
  ActionView,
  BoardPage,
  CompletionResult,
  Friend,
  FriendsBoard,
  History,
  LeaderboardInfo,
  Login,
  Me,
  MePatch,
  Period,
  Ranks,
  SessionEvent,
  SessionUser,
  SocketFactory,
  Standing,
  StartedAction,
  StorageLike,
  TransportName,
  User,
  UserEvents,
} from './types.ts';
import type { WatchTuning } from './watch/feed.ts';
import { PollFeed } from './watch/poll-feed.ts';
import { SocketHub } from './watch/socket-hub.ts';
import { SseFeed } from './watch/sse-feed.ts';
import { BoardWatcher } from './watch/watcher.ts';

const ALL_TRANSPORTS: readonly TransportName[] = ['socket', 'sse', 'polling'];

/** Settings of a {@link LaurelClient}. */
export interface LaurelClientOptions {
  /** Where the API listens, such as `https://play.example.com`; a path in front of `/api/v1` is kept. */
  baseUrl: string;
  /** Where Socket.IO and SSE listen. Default: `baseUrl`. */
  realtimeUrl?: string;
  /** Default: the platform's. */
  fetch?: typeof fetch;
  /** Keeps the session over reloads, such as `localStorage`. Default: memory only. */
  storage?: StorageLike;
  /** socket.io-client's `io`. Default: `import('socket.io-client')` when something is first watched. */
  io?: SocketFactory;
  /** For players of an outside identity service: their access token. Called for every request. */
  getToken?: () => string | null | Promise<string | null>;
  /** For one try of one request, ms. Default 10,000. */
  timeoutMs?: number;
  /** In order of preference. Default: socket, sse, polling. */
  transports?: readonly TransportName[];
  watch?: Partial<WatchTuning>;
}

/**
 * Everything that a game or a page does with Laurel. Methods that ask the service throw `LaurelError`.
 * Nothing is connected before it is needed.
 */
export class LaurelClient {
  readonly #http: Http;
  readonly #session: Session;
  readonly #actions: Actions;
  readonly #reads: Reads;
  readonly #logins: Logins;
  readonly #hub: SocketHub;
  readonly #realtimeUrl: string;
  readonly #transports: readonly TransportName[];
  readonly #tuning: WatchTuning;
  readonly #watchers = new Set<BoardWatcher>();
  #unlistenOnline: () => void = () => undefined;

  /** @throws TypeError where an address is missing or is none */
  constructor(options: LaurelClientOptions) {
    this.#http = new Http(options);
    this.#realtimeUrl =
      options.realtimeUrl === undefined ? this.#http.baseUrl : serviceUrl(options.realtimeUrl, 'realtimeUrl');
    this.#tuning = { attempts: 5, upgradeMs: 30_000, pollMs: 1_500, ...options.watch };
    this.#transports = ALL_TRANSPORTS.filter((name) => (options.transports ?? ALL_TRANSPORTS).includes(name));
    this.#session = new Session({ http: this.#http, storage: options.storage, getToken: options.getToken });
    this.#actions = new Actions(this.#session);
    this.#reads = new Reads(this.#session);
    this.#logins = new Logins(this.#session);
    this.#hub = new SocketHub({
      url: this.#realtimeUrl,
      session: this.#session,
      tuning: this.#tuning,
      io: options.io,
    });
    this.#listenForNetwork();
  }

  // --- who plays -------------------------------------------------------------------------------------------

  /** Null where nobody is signed in. */
  get user(): SessionUser | null {
    return this.#session.user;
  }

  /** Hears who signs in and out, other tabs that share the storage included. */
  onSession(listener: (event: SessionEvent) => void): () => void {
    return this.#session.on(listener);
  }

  /** Makes an account; {@link login} afterwards. `USERNAME_TAKEN`, `EMAIL_TAKEN`, `INVALID_REQUEST`. */
  register(input: { username: string; email: string; password: string }): Promise<SessionUser> {
    return this.#session.register(input);
  }

  /** `BAD_CREDENTIALS`, `USER_BANNED`, `RATE_LIMITED`. */
  login(input: { username: string; password: string }): Promise<SessionUser> {
    return this.#session.login(input);
  }

  /** Never throws; the session here is over at once. */
  logout(): Promise<void> {
    return this.#session.logout();
  }

  /** Ends every other login; this one goes on. `BAD_CREDENTIALS`, `INVALID_REQUEST`, `RATE_LIMITED`. */
  changePassword(input: { current: string; new: string }): Promise<void> {
    return this.#session.changePassword(input);
  }

  /** Chooses a new password with the reset token that an administrator made; {@link login} afterwards. `UNAUTHENTICATED`. */
  resetPassword(input: { token: string; password: string }): Promise<void> {
    return this.#logins.resetPassword(input);
  }

  /** Where the current user is signed in, newest first. */
  logins(): Promise<Login[]> {
    return this.#logins.list();
  }

  /** Ends one login. `NOT_FOUND`. */
  endLogin(id: string): Promise<void> {
    return this.#logins.end(id);
  }

  /** Ends every login but this one. */
  endOtherLogins(): Promise<void> {
    return this.#logins.endOthers();
  }

  // --- playing ---------------------------------------------------------------------------------------------

  /** Starts an action; complete it within its life (5 minutes at most). See {@link Actions.start}. */
  start(type: string, options?: StartOptions): Promise<StartedAction> {
    return this.#actions.start(type, options);
  }

  /** Completes an action once, whatever happens on the way. See {@link Actions.complete}. */
  complete(
    action: Pick<StartedAction, 'actionId' | 'actionToken'>,
    options?: CompleteOptions,
  ): Promise<CompletionResult> {
    return this.#actions.complete(action, options);
  }

  /** Starts and completes. */
  play(type: string, options?: StartOptions & { deadlineMs?: number }): Promise<CompletionResult> {
    return this.#actions.play(type, options);
  }

  /** Completes without having started, signed here. See {@link Actions.completeSigned}. */
  completeSigned(
    type: string,
    options?: CompleteOptions & { actionId?: string; leaderboard?: string; timestamp?: string },
  ): Promise<CompletionResult> {
    return this.#actions.completeSigned(type, options);
  }

  action(actionId: string): Promise<ActionView> {
    return this.#actions.get(actionId);
  }

  actions(query?: { status?: ActionStatus; limit?: number; cursor?: string }): Promise<ActionPage> {
    return this.#actions.list(query);
  }

  cancel(actionId: string): Promise<ActionView> {
    return this.#actions.cancel(actionId);
  }

  // --- reading ---------------------------------------------------------------------------------------------

  leaderboards(): Promise<LeaderboardInfo[]> {
    return this.#reads.leaderboards();
  }

  /** What can be played, with prices. */
  actionTypes(): Promise<ActionType[]> {
    return this.#reads.actionTypes();
  }

  /** A page of a board; an unchanged one is the same object as before (ETag). */
  leaderboard(key: string, options?: BoardQuery): Promise<BoardPage> {
    return this.#reads.leaderboard(key, options);
  }

  /** Where a user stands; `me` is the player. */
  standing(
    key: string,
    userId: string,
    options?: { period?: Period; neighbors?: number },
  ): Promise<Standing> {
    return this.#reads.standing(key, userId, options);
  }

  /** Ranks of up to 100 users. */
  ranks(key: string, userIds: readonly string[], options?: { period?: Period }): Promise<Ranks> {
    return this.#reads.ranks(key, userIds, options);
  }

  friendsBoard(
    key: string,
    options?: { period?: Period; limit?: number; offset?: number },
  ): Promise<FriendsBoard> {
    return this.#reads.friendsBoard(key, options);
  }

  me(): Promise<Me> {
    return this.#reads.me();
  }

  updateMe(patch: MePatch): Promise<Me> {
    return this.#reads.updateMe(patch);
  }

  userById(userId: string): Promise<User> {
    return this.#reads.user(userId);
  }

  history(userId: string, options?: { leaderboard?: string; period?: string }): Promise<History> {
    return this.#reads.history(userId, options);
  }

  achievements(userId: string): Promise<Achievement[]> {
    return this.#reads.achievements(userId);
  }

  friends(): Promise<Friend[]> {
    return this.#reads.friends();
  }

  addFriend(userId: string): Promise<void> {
    return this.#reads.addFriend(userId);
  }

  removeFriend(userId: string): Promise<void> {
    return this.#reads.removeFriend(userId);
  }

  exportMe(): Promise<unknown> {
    return this.#reads.exportMe();
  }

  /** Erases the current user's personal data for good, and signs out. Without the password: within 15 minutes of the login. */
  async deleteMe(input: { password?: string } = {}): Promise<void> {
    await this.#reads.deleteMe(input);
    await this.#session.logout();
  }

  // --- watching --------------------------------------------------------------------------------------------

  /** Keeps the top 10 of a board current. All watchers share one connection. */
  watch(leaderboard: string, options: { period?: Period } = {}): BoardWatcher {
    const key = { leaderboard, period: options.period ?? 'all' };
    const tuning = this.#tuning;
    // With nothing better in front of it, polling has no reason to hold back.
    const firstInMs = this.#transports[0] === 'polling' ? 0 : 200 + Math.random() * 800;
    const watcher = new BoardWatcher(
      {
        socket: (sink) => this.#hub.join(key, sink),
        sse: (sink) =>
          new SseFeed(key, sink, {
            http: this.#http,
            session: this.#session,
            url: this.#realtimeUrl,
            tuning,
          }),
        polling: (sink) =>
          new PollFeed(sink, {
            read: (signal) => this.#reads.poll(leaderboard, { period: key.period, limit: 10, signal }),
            tuning,
            firstInMs,
          }),
      },
      this.#transports,
      (closed) => this.#watchers.delete(closed),
    );
    this.#watchers.add(watcher);
    return watcher;
  }

  /**
   * Hears what happens to the signed-in player and to {@link spectate}d users. By Socket.IO only: nothing is
   * missed that cannot be read afterwards, but nothing is repeated either.
   */
  on<E extends keyof UserEvents>(event: E, listener: (payload: UserEvents[E]) => void): () => void {
    return this.#hub.on(event, listener);
  }

  /** Follows a user's events until the returned function is called. */
  spectate(userId: string): () => void {
    return this.#hub.spectate(userId);
  }

  /** Ends all watchers and connections. The session stands, in the storage. */
  close(): void {
    this.#unlistenOnline();
    for (const watcher of [...this.#watchers]) watcher.close();
    this.#hub.close();
    this.#session.close();
  }

  #listenForNetwork(): void {
    this.#unlistenOnline = onPlatform('online', () => {
      this.#hub.hurry();
      for (const watcher of this.#watchers) watcher.refresh();
    });
  }
}
