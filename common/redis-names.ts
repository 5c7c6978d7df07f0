import type { BoardRef } from './board/board.ts';

/** What names begin with when REDIS_PREFIX says nothing else. */
export const DEFAULT_REDIS_PREFIX = 'laurel';

/** Redis channels. Events are hints about what has been committed; a process that misses one reads the state again. */
export interface Channels {
  /** {@link BoardEvent}: published by the very script that changed the board, so that versions arrive in order. */
  readonly boards: string;
  /** {@link CompletionEvent}[]: the completions of one transaction. */
  readonly completions: string;
  /** {@link ActionEvent}[]: what spectators and waiting players hear of actions. Only the live tier listens. */
  readonly actions: string;
  /** {@link ChangeEvent}: something that processes keep in memory is no longer what it was. */
  readonly changes: string;
  /** {@link CompletionReply}[]: results for the API instance that waits for them. */
  readonly replies: (instanceId: string) => string;
}

/**
 * The names of everything that one installation keeps in Redis and says through it. All of them begin with its prefix, channels
 * too: pub/sub knows no database numbers, so that installations on one server would hear each other without it. A hash tag
 * (`{…}`) keeps keys that one script needs together on one node of a cluster.
 */
export class RedisNames {
  /** Also the `prefix` of BullMQ's queues and workers. */
  readonly prefix: string;
  readonly channels: Channels;
  /** The token bucket of RATE_LIMIT_GLOBAL_PER_SECOND. */
  readonly globalAdmission: string;
  /** Names the server run whose boards are known to be right. */
  readonly reconciledRun: string;
  /** Stands in Redis for as long as it keeps its data. */
  readonly kept: string;
  /** What the channels of realtime instances begin with. An instance listens to its own, which shows that it is alive. */
  readonly instances: string;
  /** What the keys of users' profiles begin with. */
  readonly users: string;
  /** The newest revision of Postgres that any worker has seen. */
  readonly newestUserRevision: string;
  /** What the channels of the Socket.IO adapter begin with. */
  readonly sockets: string;

  constructor(prefix: string = DEFAULT_REDIS_PREFIX) {
    this.prefix = prefix;
    this.channels = {
      boards: `${prefix}:boards`,
      completions: `${prefix}:completions`,
      actions: `${prefix}:actions`,
      changes: `${prefix}:changes`,
      replies: (instanceId) => `${prefix}:replies:${instanceId}`,
    };
    this.globalAdmission = `${prefix}:admission:global`;
    this.reconciledRun = `${prefix}:reconciled-run`;
    this.kept = `${prefix}:kept`;
    this.instances = `${prefix}:instances:`;
    this.users = `${prefix}:user:`;
    this.newestUserRevision = `${prefix}:newest-user-revision`;
    this.sockets = `${prefix}:sockets`;
  }

  /** Whether a text names a key of this installation. */
  isKey(text: string): boolean {
    return text.startsWith(`${this.prefix}:`);
  }

  /** Whether a key is BullMQ's. */
  isOfQueue(key: string): boolean {
    return /^(?:completions-\d+|maintenance)(?::|$)/.test(key.slice(this.prefix.length + 1));
  }

  /** What is known of a completion: that it is under way, or its result. */
  action(userId: string, actionId: string): string {
    return `${this.prefix}:{${userId}}:action:${actionId}`;
  }

  /** A user's open actions: a sorted set by expiry. */
  openActions(userId: string): string {
    return `${this.prefix}:{${userId}}:open`;
  }

  /** A user's last client-signed completion of a type. */
  lastSigned(userId: string, type: string): string {
    return `${this.prefix}:{${userId}}:signed:${type}`;
  }

  /** What the keys of limits of a user, an address or a login name begin with. */
  limits(subject: string): string {
    return `${this.prefix}:{${subject}}`;
  }

  /** A user's sockets, over all realtime instances. */
  connections(userId: string): string {
    return `${this.prefix}:{${userId}}:connections`;
  }

  ranked(board: BoardRef): string {
    return `${this.#board(board)}:ranked`;
  }

  members(board: BoardRef): string {
    return `${this.#board(board)}:members`;
  }

  /** Who has entered the top of the board before: kept by the publisher. */
  milestones(board: BoardRef): string {
    return `${this.#board(board)}:milestones`;
  }

  #board({ leaderboard, period, startsAt }: BoardRef): string {
    return `${this.prefix}:{${leaderboard}:${period}:${startsAt}}`;
  }
}
