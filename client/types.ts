import type { components } from './api-types.ts';

type Schemas = components['schemas'];

/** A window over which scores are summed. All but `all` start anew in UTC; weeks are ISO weeks. */
export type Period = 'all' | 'daily' | 'weekly' | 'monthly';

/** One leaderboard that the service keeps. `key` is case-sensitive. */
export type LeaderboardInfo = Schemas['ListLeaderboardsResponse']['leaderboards'][number];

/** One line of a board. `rank` 1 is the best. */
export type LeaderboardEntry = Schemas['Entry'];

/** A board as it stood at `version`, which rises whenever its top 10 changes. Watched boards hold the top 10. */
export type Board = Schemas['LeaderboardSnapshot'];

/** A page of a board; `nextCursor` asks for the next one. */
export type BoardPage = Schemas['Leaderboard'];

/** Something that can be played, with its price. */
export interface ActionType {
  key: string;
  /** For people. */
  title: string;
  /** A leaderboard whose `maxPointsPerUpdate` is less pays that. */
  points: number;
  /** What each difficulty earns. */
  difficulties: Record<string, number>;
  /** A completion that comes sooner after the start is refused or looked at. */
  minDurationMs: number;
  /** Where it may be played; null for everywhere. */
  leaderboards: string[] | null;
  clientSigned?: boolean;
}

/** A friends' board: `rank` is the one on the whole board, `position` the place among friends. */
export type FriendsBoard = Schemas['FriendsLeaderboard'];

/** The standing of one user. Without a score: `score` 0, and null for everything that follows from a rank. */
export type Standing = Schemas['Standing'];

/** The answer to {@link LaurelClient.ranks}; unknown users are left out. */
export type Ranks = Schemas['GetRanksResponse'];

/** A user, as others see them. */
export type User = Schemas['User'];

/** The signed-in user. `email` is null for players of an outside identity service. */
export type Me = Schemas['Me'];

/** What {@link LaurelClient.updateMe} changes; what is left out stays as it is. */
export type MePatch = Schemas['UpdateMeRequest'];

/** A login of the signed-in user that has not ended. `current` is the one that asks. */
export type Login = Schemas['Sessions']['sessions'][number];

/** A user's score over time, one point a UTC day. */
export type History = Schemas['History'];

/** A milestone that a user has reached. */
export type Achievement = Schemas['GetAchievementsResponse']['achievements'][number];

/** A user whom the signed-in user follows. */
export type Friend = Schemas['ListFriendsResponse']['friends'][number];

/** Extra facts about an action; `difficulty` picks the action type's multiplier. */
export type Metadata = Record<string, unknown> & { difficulty?: string };

/** An action that has been started, to be completed before `expiresAt` (5 minutes at most). Keep its token secret. */
export type StartedAction = Schemas['StartedAction'];

/**
 * A counted completion. `score` and `rank` are those of the all-time period of `leaderboard`; `rank.previous` is null on
 * the first completion, `rank.current` while the ranking cannot be read.
 */
export type CompletionResult = Schemas['CompletionResult'];

/** The answer to a completion that is accepted and not counted yet. The SDK waits for its end. */
export type QueuedCompletion = Schemas['QueuedCompletion'];

/** One of the signed-in user's actions. `result` is there once `status` is `completed`. */
export type ActionView = Schemas['Action'];

/** Where an action is in its life. */
export type ActionStatus = ActionView['status'];

/** A page of the signed-in user's actions; pass `nextCursor` on to read the next one. */
export type ActionPage = Schemas['ListActionsResponse'];

/** One user who scored since the frame before. */
export interface EntryChange {
  userId: string;
  username: string;
  /** Null: was not on the board. */
  oldRank: number | null;
  newRank: number | null;
  score: number;
  delta: number;
}

/** What the service sends to a board's watchers when its top 10 has changed. */
export type LeaderboardFrame = Schemas['LeaderboardUpdate'];

/** Events of the signed-in player and of spectated users. */
export interface UserEvents {
  'score:update': {
    type: 'SCORE_CHANGED';
    userId: string;
    username: string;
    leaderboard: string;
    score: number;
    delta: number;
    oldRank: number | null;
    /** Null while the ranking cannot be read. */
    newRank: number | null;
    timestamp: string;
  };
  'rank:achieved': {
    leaderboard: string;
    period: Period;
    rank: number;
    previousRank: number | null;
    timestamp: string;
  };
  'achievement:unlocked': { key: string; title: string; timestamp: string };
  'player:action': {
    userId: string;
    actionId: string;
    type: string;
    status: 'started' | 'completed' | 'cancelled';
    timestamp: string;
  };
  'action:result': ActionView;
}

/** Someone signed in or out, here or in another tab that shares the storage. */
export type SessionEvent =
  | { type: 'signed-in'; user: SessionUser }
  /** `logout`: asked for. `expired`: the service no longer takes the refresh token. */
  | { type: 'signed-out'; reason: 'logout' | 'expired' };

/** The user that a login answers with; only the first two are certain. */
export type SessionUser = Pick<User, 'userId' | 'username'> & Partial<User>;

/** What {@link LaurelClient} keeps the session in: `localStorage`, or anything that looks like it. */
export interface StorageLike {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

/**
 * How fresh a watched board is.
 * - `connecting`: nothing has been heard yet
 * - `live`: every change is pushed
 * - `polling`: no push just now, the board is asked for every few seconds
 * - `offline`: the service cannot be reached; the last board stands
 */
export type ConnectionState = 'connecting' | 'live' | 'polling' | 'offline';

/** What carries a watched board just now. */
export type TransportName = 'socket' | 'sse' | 'polling';

/** A new state of a watched board. */
export interface BoardUpdate {
  board: Board;
  /** Who scored since the update before. Worked out from the two boards where no frame told it. */
  changes: EntryChange[];
  /** `snapshot`: the whole board was read anew. `update`: one pushed step. */
  cause: 'snapshot' | 'update';
}

/** The part of a socket.io-client socket that Laurel uses. */
export interface SocketLike {
  readonly connected: boolean;
  connect(): unknown;
  disconnect(): unknown;
  on(event: string, listener: (...args: never[]) => void): unknown;
  emit(event: string, ...args: unknown[]): unknown;
}

/** How Laurel calls socket.io-client's `io`. */
export interface SocketOptions {
  autoConnect: boolean;
  reconnection: boolean;
  forceNew: boolean;
  transports: string[];
  timeout: number;
  auth: (send: (data: Record<string, unknown>) => void) => void;
}

/** socket.io-client's `io` function. */
export type SocketFactory = (url: string, options: SocketOptions) => SocketLike;
