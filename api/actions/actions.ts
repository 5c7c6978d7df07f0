import type { ActionStatus } from '../../common/actions.ts';
import { actionKey, parseResult, PENDING } from '../../common/actions.ts';
import { Batcher } from '../../common/batcher.ts';
import type { CompletionResult } from '../../common/events.ts';
import type { Database } from '../../common/postgres.ts';
import type { Redis } from '../../common/redis.ts';

/** An action that a player starts. Times are ms since the epoch. */
export interface NewAction {
  readonly id: string;
  readonly userId: string;
  readonly type: string;
  readonly leaderboard: string;
  readonly points: number;
  readonly difficulty: string | null;
  readonly metadata: Record<string, unknown> | null;
  readonly tokenHash: string;
  readonly startedAt: number;
  readonly expiresAt: number;
  readonly ip: string;
  readonly userAgent: string | null;
}

/** An action as its owner may see it. */
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
  transaction_id: string | null;
  before: string;
  after: string;
  delta: string;
  rank_previous: number | null;
  rank_current: number | null;
}

const INSERTS_A_BATCH = 200;
const BATCHES_AT_ONCE = 2;

/** Actions in Postgres, and what Redis knows of those that are under way. */
export class Actions {
  readonly #db: Database;
  readonly #redis: Redis;
  readonly #inserts: Batcher<NewAction>;

  constructor(db: Database, redis: Redis) {
    this.#db = db;
    this.#redis = redis;
    this.#inserts = new Batcher((actions) => this.#insert(actions), INSERTS_A_BATCH, BATCHES_AT_ONCE);
  }

  /** Writes an action down; together with others that start at the same time. */
  start(action: NewAction): Promise<void> {
    return this.#inserts.add(action);
  }

  async #insert(actions: NewAction[]): Promise<void> {
    await this.#db.raw(
      `insert into actions (id, user_id, type, leaderboard, points, difficulty, metadata, token_hash, started_at, expires_at, ip, user_agent)
       select a.id, a."userId", a.type, a.leaderboard, a.points, a.difficulty, a.metadata, decode(a."tokenHash", 'hex'),
         from_epoch_ms(a."startedAt"), from_epoch_ms(a."expiresAt"), a.ip, a."userAgent"
       from jsonb_to_recordset(?::jsonb) as a(id text, "userId" text, type text, leaderboard text, points integer,
         difficulty text, metadata jsonb, "tokenHash" text, "startedAt" bigint, "expiresAt" bigint, ip text, "userAgent" text)`,
      [JSON.stringify(actions)],
    );
  }

  /** The result of a completion, as Redis keeps it for a while; undefined when it has none, or is away. */
  async keptResult(userId: string, actionId: string): Promise<CompletionResult | undefined> {
    const kept = await this.#redis.get(actionKey(userId, actionId)).catch(() => null);
    return parseResult(kept);
  }

  /** One of a user's own actions. While Postgres is away, what Redis knows of one under way is not enough: it throws. */
  async find(userId: string, actionId: string): Promise<Action | undefined> {
    const [kept, rows] = await Promise.all([
      this.#redis.get(actionKey(userId, actionId)).catch(() => null),
      this.#rows(userId).andWhere('a.id', actionId),
    ]);
    const row = rows[0];
    if (!row) return undefined;
    const action = toAction(row);
    // Between the commit and the writing down of its ranks, Redis has the whole answer.
    const result = parseResult(kept) ?? action.result;
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

  /** Cancels an open action. @returns its status afterwards; undefined when the user has no such action */
  async cancel(
    userId: string,
    actionId: string,
  ): Promise<{ cancelled: boolean; action: Action } | undefined> {
    const cancelled = await this.#db('actions')
      .where({ id: actionId, user_id: userId, status: 'started' })
      .update({ status: 'cancelled' });
    const action = await this.find(userId, actionId);
    return action && { cancelled: cancelled > 0, action };
  }

  /** Makes a 202 durable. @returns the action's status, null when Postgres has no such action (yet) */
  async recordAcceptance(
    actionId: string,
    acceptedAt: number,
    payload: unknown,
  ): Promise<ActionStatus | null> {
    const { rows } = await this.#db.raw<{ rows: { status: ActionStatus | null }[] }>(
      'select record_acceptance(?, from_epoch_ms(?), ?::jsonb) as status',
      [actionId, acceptedAt, JSON.stringify(payload)],
    );
    return rows[0]?.status ?? null;
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
        'l.id as transaction_id',
        'l.before',
        'l.after',
        'l.delta',
        'r.previous as rank_previous',
        'r.current as rank_current',
      );
  }
}

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
  };
}
