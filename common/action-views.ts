import { parseResult, PENDING, type ActionStatus } from './actions.ts';
import type { CompletionResult } from './events.ts';
import type { Database } from './postgres.ts';
import type { Redis } from './redis.ts';

/** An action as its owner may see it. Times are ms since the epoch. */
export interface Action {
  readonly id: string;
  readonly userId: string;
  readonly type: string;
  readonly leaderboard: string;
  readonly points: number;
  readonly status: ActionStatus;
  readonly startedAt: number;
  readonly expiresAt: number;
  readonly completedAt: number | null;
  readonly result: CompletionResult | null;
  /** what the game said at the start, and with the completion */
  readonly metadata: Record<string, unknown> | null;
  readonly completionMetadata: Record<string, unknown> | null;
}

interface ActionRow {
  id: string;
  user_id: string;
  type: string;
  leaderboard: string;
  points: number;
  status: ActionStatus;
  started_at: Date;
  expires_at: Date;
  completed_at: Date | null;
  /** completed so lately that its ranks may be on their way, by the clock that stamped it */
  is_recent: boolean | null;
  metadata: Record<string, unknown> | null;
  completion_metadata: Record<string, unknown> | null;
  transaction_id: string | null;
  before: string;
  after: string;
  delta: string;
  /** null until the ranks are written down, a moment after the commit */
  ranked_action: string | null;
  rank_previous: number | null;
  rank_current: number | null;
}

/** Actions as their owners see them, from Postgres, and from Redis as far as it knows more. */
export class ActionViews {
  readonly #db: Database;
  readonly #redis: Redis;

  constructor(db: Database, redis: Redis) {
    this.#db = db;
    this.#redis = redis;
  }

  /** One of a user's own actions. While Postgres is away, what Redis knows of one under way is not enough: it throws. */
  async find(userId: string, actionId: string): Promise<Action | undefined> {
    const [kept, rows] = await Promise.all([
      this.#redis.get(this.#redis.names.action(userId, actionId)).catch(() => null),
      this.#rows(userId).andWhere('a.id', actionId),
    ]);
    const row = rows[0];
    if (!row) return undefined;
    const action = toAction(row);
    // Between the commit and the writing down of its ranks, Redis has the whole answer.
    const whole = parseResult(kept);
    if (action.status === 'completed' && !whole && row.ranked_action === null && row.is_recent === true) {
      // Not yet there either: nobody is told of a result that will turn out to be another.
      return { ...action, status: 'queued', completedAt: null, result: null };
    }
    const result = whole ?? action.result;
    const status = action.status === 'started' && kept === PENDING ? 'queued' : action.status;
    return { ...action, status, result: action.status === 'completed' ? result : null };
  }

  /** A user's own actions, newest first. @param after the id of the last one seen */
  async list(
    userId: string,
    status: ActionStatus | undefined,
    limit: number,
    after: string | undefined,
  ): Promise<Action[]> {
    const query = this.#rows(userId).orderBy('a.id', 'desc').limit(limit);
    if (status) void query.andWhere('a.status', status);
    if (after !== undefined) void query.andWhere('a.id', '<', after);
    return (await query).map(toAction);
  }

  #rows(userId: string) {
    return this.#db<ActionRow>('actions as a')
      .leftJoin('ledger as l', 'l.action_id', 'a.id')
      .leftJoin('completion_ranks as r', 'r.action_id', 'a.id')
      .where('a.user_id', userId)
      .select<ActionRow[]>(
        'a.id',
        'a.user_id',
        'a.type',
        'a.leaderboard',
        'a.points',
        'a.status',
        'a.started_at',
        'a.expires_at',
        'a.completed_at',
        this.#db.raw('a.completed_at > now() - make_interval(secs => ?) as is_recent', [PUBLISHED_AFTER_S]),
        'a.metadata',
        'a.completion_metadata',
        'l.id as transaction_id',
        'l.before',
        'l.after',
        'l.delta',
        'r.action_id as ranked_action',
        'r.previous as rank_previous',
        'r.current as rank_current',
      );
  }
}

/** How long a result may take from its commit to Redis; after that its ranks are lost. */
const PUBLISHED_AFTER_S = 3;

function toAction(row: ActionRow): Action {
  const completedAt = row.completed_at?.getTime() ?? null;
  return {
    id: row.id,
    userId: row.user_id,
    type: row.type,
    leaderboard: row.leaderboard,
    points: row.points,
    status: row.status,
    startedAt: row.started_at.getTime(),
    expiresAt: row.expires_at.getTime(),
    completedAt,
    result:
      row.transaction_id === null || completedAt === null
        ? null
        : {
            actionId: row.id,
            status: 'completed',
            leaderboard: row.leaderboard,
            userId: row.user_id,
            score: { previous: Number(row.before), current: Number(row.after), delta: Number(row.delta) },
            rank: { previous: row.rank_previous, current: row.rank_current },
            transactionId: row.transaction_id,
            completedAt: new Date(completedAt).toISOString(),
          },
    metadata: row.metadata,
    completionMetadata: row.completion_metadata,
  };
}

const iso = (ms: number): string => new Date(ms).toISOString();

/** The body of `GET /actions/:id`, and of the event `action:result`. */
export const presentAction = (action: Action) => ({
  actionId: action.id,
  type: action.type,
  leaderboard: action.leaderboard,
  status: action.status,
  points: action.points,
  startedAt: iso(action.startedAt),
  expiresAt: iso(action.expiresAt),
  completedAt: action.completedAt === null ? null : iso(action.completedAt),
  result: action.result,
  metadata: action.metadata,
  completionMetadata: action.completionMetadata,
});
