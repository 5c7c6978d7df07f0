import Joi from 'joi';
import type { Logger } from './logger.ts';
import type { Redis } from './redis.ts';
import { periods, type Period } from './periods.ts';

/** Redis channels. Events are hints about what has been committed; whoever misses one reads the state again. */
export const channels = {
  /** {@link BoardEvent}: published by the very script that changed the board, so that versions arrive in order. */
  boards: 'laurel:boards',
  /** {@link CompletionEvent}[]: the completions of one transaction. */
  completions: 'laurel:completions',
  /** {@link ActionEvent}: what spectators and waiting players hear of actions. Only the live tier listens. */
  actions: 'laurel:actions',
  /** {@link ChangeEvent}: something that processes keep in memory is no longer what it was. */
  changes: 'laurel:changes',
  /** {@link CompletionReply}[]: results for the API instance that waits for them. */
  replies: (instanceId: string): string => `laurel:replies:${instanceId}`,
} as const;

/** A board's top 10 changed, or (`reset`) the board was made again. Ranks here are 0-based, -1 for none. */
export interface BoardEvent {
  readonly leaderboard: string;
  readonly period: Period;
  readonly startsAt: number;
  readonly endsAt: number | null;
  readonly version: number;
  /** ms since the epoch */
  readonly at: number;
  readonly reset?: true;
  /** [userId, score, reachedAt ms], the top 10 in order. */
  readonly entries?: readonly (readonly [string, number, number])[];
  /** [userId, old rank, new rank, score, delta] of those in the top 10 whose score changed. */
  readonly changes?: readonly (readonly [string, number, number, number, number])[];
}

/** Score and rank of a completion on its own leaderboard, all time. Ranks are 1-based, null for none. */
export interface CompletionResult {
  readonly actionId: string;
  readonly status: 'completed';
  readonly leaderboard: string;
  readonly userId: string;
  readonly score: { readonly previous: number; readonly current: number; readonly delta: number };
  readonly rank: { readonly previous: number | null; readonly current: number | null };
  readonly transactionId: string;
  readonly completedAt: string;
}

/** Why a completion did not count. */
export type Refusal = 'cancelled' | 'rejected' | 'held' | 'unknown' | 'not_yours' | 'token_mismatch';

/** What became of a completion that an API instance waits for. */
export type CompletionReply =
  | {
      readonly actionId: string;
      readonly outcome: 'completed' | 'duplicate';
      readonly result: CompletionResult;
    }
  | { readonly actionId: string; readonly outcome: Refusal };

/** A user's first entry into the top 100, 10, 3 or 1 of a board in a period. Ranks are 1-based, null for none. */
export interface RankMilestone {
  readonly leaderboard: string;
  readonly period: Period;
  readonly rank: number;
  readonly previousRank: number | null;
}

/** A completion that has been committed, and what it brought its user. */
export interface CompletionEvent extends CompletionResult {
  readonly type: string;
  readonly milestones?: readonly RankMilestone[];
  readonly achievements?: readonly { readonly key: string; readonly title: string }[];
}

export type ChangeEvent =
  | { readonly kind: 'catalog' }
  | { readonly kind: 'features' }
  | { readonly kind: 'user'; readonly userId: string };

export type ActionEvent =
  /** an action that was answered 202 has ended */
  | { readonly kind: 'result'; readonly userId: string; readonly actionId: string }
  | {
      readonly kind: 'action';
      readonly userId: string;
      readonly actionId: string;
      readonly type: string;
      readonly status: 'started' | 'cancelled';
      /** ms since the epoch */
      readonly at: number;
    };

const boardEvent = Joi.object<BoardEvent>({
  leaderboard: Joi.string().required(),
  period: Joi.valid(...periods).required(),
  startsAt: Joi.number().required(),
  endsAt: Joi.number().allow(null).required(),
  version: Joi.number().integer().required(),
  at: Joi.number().required(),
  reset: Joi.valid(true),
  entries: Joi.array().items(Joi.array()),
  changes: Joi.array().items(Joi.array()),
});
const completionEvents = Joi.array<CompletionEvent[]>().items(
  Joi.object({
    actionId: Joi.string().required(),
    userId: Joi.string().required(),
    leaderboard: Joi.string().required(),
  }).unknown(),
);
const changeEvent = Joi.object({
  kind: Joi.valid('catalog', 'features', 'user').required(),
  userId: Joi.string(),
}) as Joi.ObjectSchema<ChangeEvent>;
const actionEvent = Joi.object({
  kind: Joi.valid('action', 'result').required(),
  userId: Joi.string().required(),
  actionId: Joi.string().required(),
  type: Joi.string(),
  status: Joi.valid('started', 'cancelled'),
  at: Joi.number(),
}) as Joi.ObjectSchema<ActionEvent>;
const replies = Joi.array<CompletionReply[]>().items(
  Joi.object({
    actionId: Joi.string().required(),
    outcome: Joi.string().required(),
    result: Joi.object().unknown(),
  }),
);

/** Listens to Laurel's channels on one connection, and checks what comes in. */
export class EventListener {
  readonly #redis: Redis;
  readonly #log: Logger;
  readonly #handlers = new Map<string, ((message: unknown) => void)[]>();
  #lost = false;

  /** @param redis a connection of use `subscriber`, for this listener alone */
  constructor(redis: Redis, log: Logger) {
    this.#redis = redis;
    this.#log = log;
    redis.on('message', (channel: string, message: string) => this.#handle(channel, message));
  }

  onBoard(handle: (event: BoardEvent) => void): Promise<void> {
    return this.#listen(channels.boards, boardEvent, handle);
  }

  onCompletions(handle: (events: CompletionEvent[]) => void): Promise<void> {
    return this.#listen(channels.completions, completionEvents, handle);
  }

  onChange(handle: (event: ChangeEvent) => void): Promise<void> {
    return this.#listen(channels.changes, changeEvent, handle);
  }

  onAction(handle: (event: ActionEvent) => void): Promise<void> {
    return this.#listen(channels.actions, actionEvent, handle);
  }

  onReplies(instanceId: string, handle: (replies: CompletionReply[]) => void): Promise<void> {
    return this.#listen(channels.replies(instanceId), replies, handle);
  }

  /** Calls back whenever events may have been missed: after every reconnection. */
  onResumed(handle: () => void): void {
    this.#redis.on('close', () => (this.#lost = true));
    this.#redis.on('ready', () => {
      if (!this.#lost) return;
      this.#lost = false;
      // ioredis subscribes anew right after 'ready': what is read after the next reply cannot miss an event.
      void this.#redis
        .subscribe(channels.boards)
        .then(handle, (error: unknown) => this.#log.warn({ err: error }, 'resuming failed'));
    });
  }

  async #listen<T>(channel: string, schema: Joi.Schema<T>, handle: (event: T) => void): Promise<void> {
    const handlers = this.#handlers.get(channel) ?? [];
    handlers.push((message) => {
      const { value, error } = schema.validate(message, { convert: false }) as { value: T; error?: Error };
      if (error) this.#log.warn({ channel, reason: error.message }, 'an event was not of its form');
      else handle(value);
    });
    this.#handlers.set(channel, handlers);
    await this.#redis.subscribe(channel);
  }

  #handle(channel: string, message: string): void {
    try {
      const parsed: unknown = JSON.parse(message);
      for (const handle of this.#handlers.get(channel) ?? []) handle(parsed);
    } catch (error) {
      this.#log.error({ err: error, channel }, 'handling an event failed');
    }
  }
}

/** Tells all processes that something they keep in memory has changed. Best effort: each also looks by itself, in time. */
export async function announce(redis: Redis, event: ChangeEvent): Promise<void> {
  await redis.publish(channels.changes, JSON.stringify(event)).catch(() => undefined);
}

/** Tells the live tier of an action. Best effort: nothing depends on it. */
export async function announceAction(redis: Redis, event: ActionEvent): Promise<void> {
  await redis.publish(channels.actions, JSON.stringify(event)).catch(() => undefined);
}
