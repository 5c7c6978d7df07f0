/** A window over which scores are summed. All but `all` start anew in UTC; weeks are ISO weeks. */
export type Period = 'all' | 'daily' | 'weekly' | 'monthly';

/** One leaderboard that the service keeps. */
export interface LeaderboardInfo {
  /** Case-sensitive key used in paths and in {@link LaurelClient.watch}. */
  key: string;
  /** For people. */
  title: string;
  periods: Period[];
  /** No score rises above it. */
  scoreCap?: number;
  maxPointsPerUpdate?: number;
  /** ISO 8601; null for always. */
  opensAt?: string | null;
  closesAt?: string | null;
}

/** One line of a board. */
export interface LeaderboardEntry {
  /** 1 is the best. */
  rank: number;
  userId: string;
  username: string;
  avatarUrl?: string | null;
  /** Points, 0 or more. */
  score: number;
  /** ISO 8601, UTC. */
  updatedAt?: string;
}

/** A board as it stood at `version`. */
export interface Board {
  leaderboard: string;
  period: Period;
  /** ISO 8601, or null for `all`. */
  periodStart: string | null;
  periodEnd: string | null;
  /** Rises whenever the top 10 of this board and period changes. */
  version: number;
  /** How many players have a score on it. */
  total: number;
  updatedAt: string | null;
  entries: LeaderboardEntry[];
}

/** A friends' board: `rank` is the one on the whole board, `position` the place among friends. */
export interface FriendsBoard extends Omit<Board, 'entries'> {
  entries: (LeaderboardEntry & { position: number })[];
}

/** Where one user stands. Without a score: `score` 0, all that follows from a rank null. */
export interface Standing {
  userId: string;
  username: string;
  score: number;
  rank: number | null;
  usersAbove: number | null;
  usersBelow: number | null;
  total: number;
  /** 0 to 100. */
  percentile: number | null;
  /** The users around, oneself included, best first. */
  neighbors: LeaderboardEntry[];
}

/** The answer to {@link LaurelClient.ranks}; users that nobody knows are left out. */
export interface Ranks {
  leaderboard: string;
  period: Period;
  ranks: { userId: string; username: string; score: number; rank: number | null }[];
}

/** A user, as others see them. */
export interface User {
  userId: string;
  username: string;
  avatarUrl: string | null;
  role: 'player' | 'admin';
  /** ISO 8601, UTC. */
  createdAt: string;
}

/** Oneself. */
export interface Me extends User {
  email: string;
}

/** What {@link LaurelClient.updateMe} changes; what is left out stays as it is. */
export interface MePatch {
  username?: string;
  avatarUrl?: string | null;
  allowSpectators?: boolean;
}

/** A user's score over time, one point a UTC day. */
export interface History {
  /** `score` is the running total at the day's end, `gain` what the day added. */
  points: { date: string; score: number; gain: number }[];
  trend: 'increasing' | 'decreasing' | 'flat';
  averageDailyGain: number;
}

/** A milestone that a user has reached. */
export interface Achievement {
  key: string;
  title: string;
  unlockedAt: string;
}

/** A user that one follows. */
export interface Friend {
  userId: string;
  username: string;
  avatarUrl: string | null;
  since: string;
}

/** Extra facts about an action; `difficulty` picks the action type's multiplier. */
export type Metadata = Record<string, unknown> & { difficulty?: string };

/** An action that has been started and waits to be completed before `expiresAt` (5 minutes at most). */
export interface StartedAction {
  actionId: string;
  type: string;
  leaderboard: string;
  status: 'started';
  /** What completing it will earn. */
  points: number;
  /** Signed and single-use. Keep it to yourself. */
  actionToken: string;
  startedAt: string;
  expiresAt: string;
}

/** A counted completion. `score` and `rank` are those of the all-time period of `leaderboard`. */
export interface CompletionResult {
  actionId: string;
  status: 'completed';
  leaderboard: string;
  userId: string;
  score: { previous: number; current: number; delta: number };
  /** `previous` is null on the first completion; `current` while the ranking cannot be read. */
  rank: { previous: number | null; current: number | null };
  transactionId: string;
  completedAt: string;
}

/** Where an action is in its life. */
export type ActionStatus = 'started' | 'queued' | 'completed' | 'cancelled' | 'expired' | 'held' | 'rejected';

/** One of one's own actions. */
export interface ActionView {
  actionId: string;
  type: string;
  leaderboard: string;
  status: ActionStatus;
  points?: number;
  startedAt?: string;
  expiresAt?: string;
  completedAt?: string | null;
  /** Present once `status` is `completed`. */
  result?: CompletionResult | null;
}

/** A page of one's own actions; pass `nextCursor` on to read the next one. */
export interface ActionPage {
  actions: ActionView[];
  nextCursor: string | null;
}

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
export interface LeaderboardFrame {
  type: 'LEADERBOARD_REFRESH';
  leaderboard: string;
  period: Period;
  version: number;
  /** The version of the frame before it. */
  previousVersion: number;
  timestamp: string;
  changes: EntryChange[];
  /** The whole top 10. */
  entries: LeaderboardEntry[];
}

/** Events of one's own room (signed in) and of users that one spectates. */
export interface UserEvents {
  'score:update': {
    type: 'SCORE_CHANGED';
    userId: string;
    username: string;
    leaderboard: string;
    score: number;
    delta: number;
    oldRank: number | null;
    newRank: number;
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
