import { LaurelError, toLaurelError, transient } from './errors.ts';
import { parseRetryAfter, retry, retryDelayMs, sleep } from './retry.ts';
import type { Session } from './session.ts';
import type {
  ActionPage,
  ActionStatus,
  ActionView,
  CompletionResult,
  Metadata,
  QueuedCompletion,
  StartedAction,
} from './types.ts';

/** How an action is started. */
export interface StartOptions {
  /** Default `global`. Every completion also counts on `global`. */
  leaderboard?: string;
  metadata?: Metadata;
  signal?: AbortSignal;
}

/** How an action is completed. */
export interface CompleteOptions {
  metadata?: Metadata;
  signal?: AbortSignal;
  /** Gives up with `TIMEOUT` after this long, tries and waiting together. Default 30,000 ms. */
  deadlineMs?: number;
}

const TRIES = 5;
const DEFAULT_DEADLINE_MS = 30_000;
/** Polls that find an action still `started` before it is submitted again. */
const NOT_TAKEN_MAX = 5;
const POLL = { baseMs: 500, maxMs: 3_000 };

/** Starts and completes actions: any step may be lost on the way, and every completion counts once. */
export class Actions {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  /**
   * Repeated like {@link complete}; the worst that a lost answer leaves behind is an open action, which
   * expires by itself.
   *
   * @throws {LaurelError} `UNKNOWN_ACTION_TYPE`, `UNKNOWN_LEADERBOARD`, `TOO_MANY_OPEN_ACTIONS`, `RATE_LIMITED`
   */
  start(type: string, options: StartOptions = {}): Promise<StartedAction> {
    const { signal, ...rest } = options;
    return retry(
      async () => {
        const body = { type, ...rest };
        return (await this.#session.send<StartedAction>({ method: 'POST', path: '/actions', body, signal }))
          .body;
      },
      { tries: TRIES, again: transient, signal, deadline: Date.now() + DEFAULT_DEADLINE_MS },
    );
  }

  /**
   * Completes an action, and answers once it has been counted. Network errors, time-outs, 502 to 504 and short
   * rate limits are tried again, 5 times in all, with back-off; a queued completion is waited for. For an action
   * that was completed before, by this call or an earlier one, the first result is returned.
   *
   * @throws {LaurelError} `RATE_LIMITED` (see `retryAfterMs`), `ACTION_REJECTED`, `ACTION_HELD`, `TIMEOUT` (with
   *   `statusUrl` where the completion was accepted) and others. After `TIMEOUT`, `NETWORK_ERROR` or
   *   `UNAVAILABLE` it is safe to call again with the same action.
   */
  complete(
    action: Pick<StartedAction, 'actionId' | 'actionToken'>,
    options: CompleteOptions = {},
  ): Promise<CompletionResult> {
    const body = { actionToken: action.actionToken, ...(options.metadata && { metadata: options.metadata }) };
    return this.#submit(
      `/actions/${encodeURIComponent(action.actionId)}/complete`,
      action.actionId,
      body,
      options,
    );
  }

  /** {@link start}, then {@link complete}. */
  async play(type: string, options: StartOptions & { deadlineMs?: number } = {}): Promise<CompletionResult> {
    const { deadlineMs, ...start } = options;
    const action = await this.start(type, start);
    return this.complete(action, {
      ...(options.signal && { signal: options.signal }),
      ...(deadlineMs !== undefined && { deadlineMs }),
    });
  }

  /**
   * The client-signed way, for games that could not call home first: signs with the session's key and
   * completes in one request. Keep `actionId` and `timestamp` to repeat it later (within 5 minutes). Operators
   * allow it per action type; it is off by default.
   *
   * @throws {LaurelError} `NO_SIGNING_KEY` where nobody has signed in, `CLIENT_SIGNING_OFF`, `SIGNATURE_INVALID`,
   *   `TIMESTAMP_OUT_OF_RANGE`, and as {@link complete}
   */
  async completeSigned(
    type: string,
    options: CompleteOptions & { actionId?: string; leaderboard?: string; timestamp?: string } = {},
  ): Promise<CompletionResult> {
    const key = this.#session.signingKey;
    if (!key) throw new LaurelError({ status: 0, code: 'NO_SIGNING_KEY', detail: 'Sign in first.' });
    const actionId = options.actionId ?? crypto.randomUUID();
    const leaderboard = options.leaderboard ?? 'global';
    const timestamp = options.timestamp ?? new Date().toISOString();
    const signature = await hmacHex(key, `${actionId}.${type}.${leaderboard}.${timestamp}`);
    const body = { actionId, type, leaderboard, timestamp, signature };
    return this.#submit('/completions', actionId, body, options);
  }

  /** @throws {LaurelError} `ACTION_NOT_FOUND` */
  async get(actionId: string, signal?: AbortSignal): Promise<ActionView> {
    return (await this.#get(actionId, signal)).view;
  }

  /** @throws {LaurelError} `ACTION_ALREADY_COMPLETED`, `ACTION_NOT_FOUND` */
  async cancel(actionId: string): Promise<ActionView> {
    const path = `/actions/${encodeURIComponent(actionId)}/cancel`;
    return (await this.#session.send<ActionView>({ method: 'POST', path })).body;
  }

  /** The player's own actions, newest first. `limit` is 1 to 100. */
  async list(query: { status?: ActionStatus; limit?: number; cursor?: string } = {}): Promise<ActionPage> {
    return (await this.#session.send<ActionPage>({ path: '/actions', query })).body;
  }

  async #submit(
    path: string,
    actionId: string,
    body: unknown,
    options: CompleteOptions,
  ): Promise<CompletionResult> {
    const { signal } = options;
    const deadline = Date.now() + (options.deadlineMs ?? DEFAULT_DEADLINE_MS);
    return retry(
      async () => {
        const timeoutMs = Math.max(1, Math.min(10_000, deadline - Date.now()));
        try {
          const answer = await this.#session.send<CompletionResult | QueuedCompletion>({
            method: 'POST',
            path,
            body,
            signal,
            timeoutMs,
          });
          if (answer.body.status === 'completed') return answer.body;
          const wait = parseRetryAfter(answer.headers.get('retry-after'));
          return await this.#settle(actionId, deadline, wait, signal);
        } catch (error) {
          return await this.#recover(toLaurelError(error), actionId, deadline, signal);
        }
      },
      { tries: TRIES, again: transient, signal, deadline },
    );
  }

  /** What a refusal means: an earlier try, or an earlier call, may have arrived. */
  async #recover(
    error: LaurelError,
    actionId: string,
    deadline: number,
    signal: AbortSignal | undefined,
  ): Promise<CompletionResult> {
    if (error.code === 'ACTION_ALREADY_COMPLETED' && error.result) return error.result;
    if (error.code === 'ACTION_IN_PROGRESS')
      return this.#settle(actionId, deadline, error.retryAfterMs, signal);
    // The token may have run out between a try that arrived and this one that asked again.
    if (error.code === 'ACTION_ALREADY_COMPLETED' || error.code === 'ACTION_TOKEN_EXPIRED') {
      const view = await this.get(actionId, signal).catch(() => null);
      if (view?.status === 'completed' || view?.status === 'queued')
        return this.#settle(actionId, deadline, 0, signal);
    }
    throw error;
  }

  /** Asks how the action has ended, until it has. */
  async #settle(
    actionId: string,
    deadline: number,
    firstWaitMs: number | undefined,
    signal: AbortSignal | undefined,
  ): Promise<CompletionResult> {
    let wait = firstWaitMs ?? retryDelayMs(0, POLL);
    let notTaken = 0;
    for (let attempt = 0; ; attempt++) {
      if (Date.now() + wait > deadline) {
        throw new LaurelError({
          status: 202,
          code: 'TIMEOUT',
          detail: 'The completion was accepted, and has not been counted yet. Ask statusUrl, or call again.',
          statusUrl: this.#session.url(`/actions/${encodeURIComponent(actionId)}`),
        });
      }
      await sleep(wait, signal);
      let retryAfterMs: number | undefined;
      try {
        const answer = await this.#get(actionId, signal, true);
        const result = settled(answer.view);
        if (result) return result;
        // The other request has given up: let the caller's next try complete it.
        if (answer.view.status === 'started' && ++notTaken >= NOT_TAKEN_MAX) break;
        retryAfterMs = answer.retryAfterMs;
      } catch (error) {
        const again = transient(error);
        if (again === false) throw error;
        retryAfterMs = again;
      }
      wait = Math.max(POLL.baseMs / 5, retryDelayMs(attempt, POLL, retryAfterMs));
    }
    throw new LaurelError({ status: 503, code: 'UNAVAILABLE', detail: 'The completion was not taken in.' });
  }

  async #get(
    actionId: string,
    signal?: AbortSignal,
    once = false,
  ): Promise<{ view: ActionView; retryAfterMs?: number }> {
    const answer = await this.#session.send<ActionView>({
      path: `/actions/${encodeURIComponent(actionId)}`,
      signal,
      ...(once && { once }),
    });
    const retryAfterMs = parseRetryAfter(answer.headers.get('retry-after'));
    return { view: answer.body, ...(retryAfterMs !== undefined && { retryAfterMs }) };
  }
}

/**
 * What an action's state means for who waits for its completion: the result, null for "not yet", or throws.
 */
export function settled(view: ActionView): CompletionResult | null {
  switch (view.status) {
    case 'completed':
      if (view.result) return view.result;
      throw new LaurelError({
        status: 200,
        code: 'BAD_RESPONSE',
        detail: 'A completed action without a result.',
      });
    case 'started':
    case 'queued':
      return null;
    case 'rejected':
      throw new LaurelError({ status: 422, code: 'ACTION_REJECTED', detail: 'The action was rejected.' });
    case 'held':
      throw new LaurelError({ status: 202, code: 'ACTION_HELD', detail: 'The action is held for review.' });
    case 'cancelled':
      throw new LaurelError({ status: 409, code: 'ACTION_CANCELLED', detail: 'The action was cancelled.' });
    case 'expired':
      throw new LaurelError({ status: 403, code: 'ACTION_TOKEN_EXPIRED', detail: 'The action has expired.' });
  }
}

async function hmacHex(key: string, message: string): Promise<string> {
  const text = new TextEncoder();
  const secret = await crypto.subtle.importKey(
    'raw',
    text.encode(key),
    { name: 'HMAC', hash: 'SHA-256' },
    false,
    ['sign'],
  );
  const signature = await crypto.subtle.sign('HMAC', secret, text.encode(message));
  return [...new Uint8Array(signature)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
