import type { CompletionName } from './actions.ts';
import { LogThrottle } from './log-throttle.ts';
import type { Logger } from './logger.ts';
import { unwrap, type Redis } from './redis.ts';
import { periods, type Period } from './periods.ts';
import { hasTexts, isObject, LAST_TIME_MS } from './validate.ts';

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
  /** how many users are on the board */
  readonly total?: number;
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

/** Why a completion did not count; `closed`: it was accepted after its leaderboard had closed. */
export type Refusal =
  'cancelled' | 'closed' | 'rejected' | 'held' | 'unknown' | 'not_yours' | 'token_mismatch';

/** What became of a completion that an API instance waits for. */
export type CompletionReply = CompletionName &
  (
    | { readonly outcome: 'completed' | 'duplicate'; readonly result: CompletionResult }
    | { readonly outcome: Refusal }
  );

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
  | { readonly kind: 'user'; readonly userId: string }
  /** any user may have changed */
  | { readonly kind: 'users' };

export type ActionEvent =
  /** an action that was answered 202 has ended */
  | { readonly kind: 'result'; readonly userId: string; readonly actionId: string }
  | {
      readonly kind: 'action';
      readonly userId: string;
      readonly actionId: string;
      readonly type: string;
      readonly leaderboard: string;
      readonly status: 'started' | 'cancelled';
      /** ms since the epoch */
      readonly at: number;
    };

const isListOf =
  <T>(isItem: (item: unknown) => item is T) =>
  (value: unknown): value is T[] =>
    Array.isArray(value) && value.every(isItem);
const isWhole = (value: unknown): boolean => Number.isSafeInteger(value);
/** Times that a date can have, ms since the epoch. */
const isTime = (value: unknown): boolean => isWhole(value) && Math.abs(value as number) <= LAST_TIME_MS;
/** A list of rows: a user id, and then numbers. */
const areRows = (value: unknown, areNumbers: (numbers: readonly unknown[]) => boolean): boolean =>
  Array.isArray(value) &&
  value.every((row: unknown) => Array.isArray(row) && typeof row[0] === 'string' && areNumbers(row.slice(1)));

/**
 * The forms of events, checked by hand: there are several a completion, and a schema would cost more than what is done
 * with them.
 */
const isBoardEvent = (value: unknown): value is BoardEvent =>
  hasTexts(value, 'leaderboard') &&
  periods.includes(value['period'] as Period) &&
  ['startsAt', 'at'].every((key) => isTime(value[key])) &&
  isWhole(value['version']) &&
  (value['endsAt'] === null || isTime(value['endsAt'])) &&
  (value['total'] === undefined || isWhole(value['total'])) &&
  (value['entries'] === undefined ||
    areRows(value['entries'], ([score, at]) => isWhole(score) && isTime(at))) &&
  (value['changes'] === undefined ||
    areRows(value['changes'], (numbers) => numbers.length === 4 && numbers.every(isWhole)));
const isCompletionEvents = isListOf((value): value is CompletionEvent =>
  hasTexts(value, 'actionId', 'userId', 'leaderboard'),
);
const isReplies = isListOf(
  (value): value is CompletionReply =>
    hasTexts(value, 'userId', 'actionId', 'outcome') &&
    (value['result'] === undefined || isObject(value['result'])),
);
const isActionEvents = isListOf(
  (value): value is ActionEvent =>
    hasTexts(value, 'kind', 'userId', 'actionId') &&
    (value['kind'] === 'result' ||
      (value['kind'] === 'action' &&
        hasTexts(value, 'type', 'leaderboard', 'status') &&
        isTime(value['at']))),
);
const isChangeEvent = (value: unknown): value is ChangeEvent =>
  hasTexts(value, 'kind') &&
  (value['kind'] === 'catalog' ||
    value['kind'] === 'features' ||
    value['kind'] === 'users' ||
    (value['kind'] === 'user' && hasTexts(value, 'userId')));

/** Listens to Laurel's channels on one connection, and checks what comes in. */
export class EventListener {
  readonly #redis: Redis;
  readonly #log: Logger;
  readonly #handlers = new Map<string, ((message: unknown) => void)[]>();
  readonly #resumed: (() => void)[] = [];
  readonly #throttle = new LogThrottle();
  #lost = false;

  /** @param redis a connection of use `subscriber`, for this listener alone */
  constructor(redis: Redis, log: Logger) {
    this.#redis = redis;
    this.#log = log;
    redis.on('message', (channel: string, message: string) => this.#handle(channel, message));
    redis.on('close', () => (this.#lost = true));
    redis.on('ready', () => this.#resume());
  }

  onBoard(handle: (event: BoardEvent) => void): Promise<void> {
    return this.#listen(this.#redis.names.channels.boards, isBoardEvent, handle);
  }

  onCompletions(handle: (events: CompletionEvent[]) => void): Promise<void> {
    return this.#listen(this.#redis.names.channels.completions, isCompletionEvents, handle);
  }

  onChange(handle: (event: ChangeEvent) => void): Promise<void> {
    return this.#listen(this.#redis.names.channels.changes, isChangeEvent, handle);
  }

  onActions(handle: (events: ActionEvent[]) => void): Promise<void> {
    return this.#listen(this.#redis.names.channels.actions, isActionEvents, handle);
  }

  onReplies(instanceId: string, handle: (replies: CompletionReply[]) => void): Promise<void> {
    return this.#listen(this.#redis.names.channels.replies(instanceId), isReplies, handle);
  }

  /** Calls back whenever events may have been missed: after every reconnection. */
  onResumed(handle: () => void): void {
    this.#resumed.push(handle);
  }

  #resume(): void {
    if (!this.#lost) return;
    this.#lost = false;
    // ioredis subscribes anew right after 'ready': what is read after the next reply cannot miss an event.
    this.#redis.subscribe(this.#redis.names.channels.boards).then(
      () => {
        for (const handle of this.#resumed) handle();
      },
      (error: unknown) => this.#log.warn({ err: error }, 'resuming failed'),
    );
  }

  async #listen<T>(
    channel: string,
    isOfForm: (message: unknown) => message is T,
    handle: (event: T) => void,
  ): Promise<void> {
    const handlers = this.#handlers.get(channel) ?? [];
    handlers.push((message) => {
      if (isOfForm(message)) handle(message);
      else
        this.#throttle.log(`form ${channel}`, (times) =>
          this.#log.warn(
            { channel, times },
            'an event was not of its form: see who else writes to this Redis',
          ),
        );
    });
    this.#handlers.set(channel, handlers);
    await this.#redis.subscribe(channel);
  }

  #handle(channel: string, message: string): void {
    try {
      const parsed: unknown = JSON.parse(message);
      for (const handle of this.#handlers.get(channel) ?? []) handle(parsed);
    } catch (error) {
      this.#throttle.log(`fault ${channel}`, (times) =>
        this.#log.error({ err: error, channel, times }, 'handling an event failed'),
      );
    }
  }
}

/** Tells all processes that something they keep in memory has changed. Best effort: each also looks by itself, in time. */
export async function announce(redis: Redis, event: ChangeEvent): Promise<void> {
  await redis.publish(redis.names.channels.changes, JSON.stringify(event)).catch(() => undefined);
}

/** Tells all processes of several changes in one round trip. @throws when Redis has not taken all of them */
export async function announceAll(redis: Redis, events: readonly ChangeEvent[]): Promise<void> {
  if (events.length === 0) return;
  const pipeline = redis.pipeline();
  for (const event of events) pipeline.publish(redis.names.channels.changes, JSON.stringify(event));
  unwrap(await pipeline.exec());
}

/** Tells the live tier of actions; of those of one turn of the event loop at once. Best effort: nothing depends on it. */
export class ActionAnnouncer {
  readonly #redis: Redis;
  #waiting: ActionEvent[] = [];

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  announce(event: ActionEvent): void {
    this.#waiting.push(event);
    if (this.#waiting.length > 1) return;
    setImmediate(() => {
      const events = this.#waiting;
      this.#waiting = [];
      this.#redis.publish(this.#redis.names.channels.actions, JSON.stringify(events)).catch(() => undefined);
    });
  }
}
