import { ActionViews, type Action } from '../../common/action-views.ts';
import { parseResult, type ActionStatus } from '../../common/actions.ts';
import { Batcher } from '../../common/batcher.ts';
import type { CompletionResult } from '../../common/events.ts';
import type { Database } from '../../common/postgres.ts';
import type { CompletionJob } from '../../common/queues.ts';
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

/** What `record_acceptance` says. */
export interface Acceptance {
  readonly status: ActionStatus | 'not_yours' | null;
  /** when the completion that counts was accepted, ms since the epoch */
  readonly acceptedAt?: number | null;
}

const INSERTS_A_BATCH = 200;
const BATCHES_AT_ONCE = 2;

/** Actions in Postgres, and what Redis knows of those that are under way. */
export class Actions {
  readonly #db: Database;
  readonly #redis: Redis;
  readonly #views: ActionViews;
  readonly #lists: ActionViews;
  readonly #inserts: Batcher<NewAction, undefined>;

  /** @param reads the pool of reads */
  constructor(db: Database, redis: Redis, reads: Database) {
    this.#db = db;
    this.#redis = redis;
    this.#views = new ActionViews(db, redis);
    this.#lists = new ActionViews(reads, redis);
    this.#inserts = new Batcher((actions) => this.#insert(actions), INSERTS_A_BATCH, BATCHES_AT_ONCE);
  }

  /** Writes an action down; together with others that start at the same time. */
  async start(action: NewAction): Promise<void> {
    await this.#inserts.add(action);
  }

  async #insert(actions: NewAction[]): Promise<undefined[]> {
    await this.#db.raw(
      `insert into actions (id, user_id, type, leaderboard, points, difficulty, metadata, token_hash, started_at, expires_at, ip, user_agent)
       select a.id, a."userId", a.type, a.leaderboard, a.points, a.difficulty, a.metadata, decode(a."tokenHash", 'hex'),
         from_epoch_ms(a."startedAt"), from_epoch_ms(a."expiresAt"), a.ip, a."userAgent"
       from jsonb_to_recordset(?::jsonb) as a(id text, "userId" text, type text, leaderboard text, points integer,
         difficulty text, metadata jsonb, "tokenHash" text, "startedAt" bigint, "expiresAt" bigint, ip text, "userAgent" text)`,
      [JSON.stringify(actions)],
    );
    return actions.map(() => undefined);
  }

  /** The result of a completion, as Redis keeps it for a while; undefined when it has none, or is away. */
  async keptResult(userId: string, actionId: string): Promise<CompletionResult | undefined> {
    const kept = await this.#redis.get(this.#redis.names.action(userId, actionId)).catch(() => null);
    return parseResult(kept);
  }

  /** One of a user's own actions. While Postgres is away, what Redis knows of one under way is not enough: it throws. */
  find(userId: string, actionId: string): Promise<Action | undefined> {
    return this.#views.find(userId, actionId);
  }

  /** A user's own actions, newest first. @param after the id of the last one seen */
  list(
    userId: string,
    status: ActionStatus | undefined,
    limit: number,
    after: string | undefined,
  ): Promise<Action[]> {
    return this.#lists.list(userId, status, limit, after);
  }

  /**
   * What stands against a client-signed completion: whether its id is taken (another user has it, or an action that the server
   * started), and when the user's last completion of the type was accepted, ms since the epoch, 0 when that is longer ago.
   */
  async beforeSigned(
    userId: string,
    actionId: string,
    type: string,
    withinMs: number,
  ): Promise<{ taken: boolean; lastAt: number }> {
    const { rows } = await this.#db.raw<{ rows: { taken: boolean; last: string | null }[] }>(
      `select
         exists (select from actions where id = :actionId and (user_id <> :userId or source <> 'client')) as taken,
         (select max(at) from (
           select epoch_ms(accepted_at) as at from ledger
           where user_id = :userId and type = :type and action_id <> :actionId
             and accepted_at > now() - make_interval(secs => :within)
           union all
           select epoch_ms(accepted_at) from queued_completions
           where user_id = :userId and payload -> 'client' ->> 'type' = :type and action_id <> :actionId and dead_at is null
         ) past where :withinMs > 0) as last`,
      // A minute more, as the clocks of Postgres and Redis may differ.
      { userId, actionId, type, within: withinMs / 1000 + 60, withinMs },
    );
    return { taken: rows[0]?.taken ?? false, lastAt: Number(rows[0]?.last ?? 0) };
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

  /** Makes a 202 durable. @returns what the action is afterwards; its status is null when Postgres has none (yet) */
  async recordAcceptance(job: CompletionJob): Promise<Acceptance> {
    const { rows } = await this.#db.raw<{ rows: { acceptance: Acceptance }[] }>(
      'select record_acceptance(?::jsonb) as acceptance',
      [JSON.stringify(job)],
    );
    return rows[0]?.acceptance ?? { status: null };
  }
}
