import { LaurelError, isRecord, toLaurelError } from './errors.ts';
import { parseRetryAfter, retry, retryDelayMs, sleep } from './retry.ts';
import type { Session } from './session.ts';
import type {
  ActionPage,
  ActionStatus,
  ActionView,
  CompletionResult,
  Metadata,
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
const UNSURE_MAX = 500;
const POLL = { baseMs: 500, maxMs: 3_000 };

/** Starts and completes actions: any step may be lost on the way, and every completion counts once. */
export class Actions {
  readonly #session: Session;
  /** Actions whose completion ended without a certain answer: asking again is then a retry. */
  readonly #unsure = new Set<string>();

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
      { tries: TRIES, again: transient, signal },
    );
  }

  /**
   * Completes an action, and answers once it has been counted. Network errors, time-outs and 502 to 504 are
   * tried again, 5 times in all, with back-off; a queued completion is waited for.
   *
   * @throws {LaurelError} `RATE_LIMITED` (see `retryAfterMs`), `ACTION_ALREADY_COMPLETED` (see `result`) where
   *   it was not this call that completed it, `ACTION_REJECTED`, `ACTION_HELD`, `TIMEOUT` and others. After
   *   `TIMEOUT`, `NETWORK_ERROR` or `UNAVAILABLE` it is safe to call again with the same action.
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
   * completes in one request. Keep `actionId` and `timestamp` to repeat it later (within 5 minutes).
   *
   * @throws {LaurelError} `NO_SIGNING_KEY` where nobody has signed in, `SIGNATURE_INVALID`,
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

  /** One's own actions, newest first. `limit` is 1 to 100. */
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
      async (attempt) => {
        const again = attempt > 0 || this.#unsure.has(actionId);
        const timeoutMs = Math.max(1, Math.min(10_000, deadline - Date.now()));
        try {
          const answer = await this.#session.send<CompletionResult | { status: 'queued' }>({
            method: 'POST',
            path,
            body,
            signal,
            timeoutMs,
          });
          if (answer.status !== 202) return answer.body as CompletionResult;
          const wait = parseRetryAfter(answer.headers.get('retry-after'));
          return await this.#settle(actionId, deadline, wait, signal);
        } catch (error) {
          const problem = toLaurelError(error);
          if (isUncertain(problem)) this.#remember(actionId);
          return await this.#recover(problem, actionId, again, deadline, signal);
        }
      },
      { tries: TRIES, again: transient, signal, deadline },
    );
  }

  /** What a refusal means depends on whether an earlier try may have arrived. */
  async #recover(
    error: LaurelError,
    actionId: string,
    again: boolean,
    deadline: number,
    signal: AbortSignal | undefined,
  ): Promise<CompletionResult> {
    if (error.code === 'ACTION_IN_PROGRESS') {
      return this.#settle(actionId, deadline, error.retryAfterMs, signal);
    }
    if (!again) throw error;
    if (error.code === 'ACTION_ALREADY_COMPLETED' && error.result) return error.result;
    // The token may have run out between a try that arrived and this one that asked again.
    if (error.code === 'ACTION_ALREADY_COMPLETED' || error.code === 'ACTION_TOKEN_EXPIRED') {
      const { view } = await this.#get(actionId, signal);
      if (view.status === 'completed' || view.status === 'queued') {
        return this.#settle(actionId, deadline, 0, signal);
      }
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
          detail: 'The completion was accepted, and has not been counted yet.',
        });
      }
      await sleep(wait, signal);
      let retryAfterMs: number | undefined;
      try {
        const answer = await this.#get(actionId, signal);
        const result = settled(answer.view);
        if (result) return result;
        // Whoever was completing it has given up: let the caller's next try do it.
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

  #remember(actionId: string): void {
    this.#unsure.add(actionId);
    const [oldest] = this.#unsure;
    if (this.#unsure.size > UNSURE_MAX && oldest !== undefined) this.#unsure.delete(oldest);
  }

  async #get(actionId: string, signal?: AbortSignal): Promise<{ view: ActionView; retryAfterMs?: number }> {
    const answer = await this.#session.send<ActionView>({
      path: `/actions/${encodeURIComponent(actionId)}`,
      signal,
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
      // Some answers nest the result, some are the result.
      if (isRecord(view.result)) return view.result;
      if (isRecord((view as unknown as CompletionResult).score)) return view as unknown as CompletionResult;
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

/** Whether trying again may help, and how long to wait at least (ms). */
export function transient(error: unknown): number | false {
  if (!(error instanceof LaurelError)) return false;
  if (error.code === 'NETWORK_ERROR' || error.code === 'TIMEOUT') {
    return error.status === 0 ? 0 : false;
  }
  return error.status >= 502 && error.status <= 504 ? (error.retryAfterMs ?? 0) : false;
}

/** Whether the request may have been carried out although no good answer came. */
function isUncertain(error: LaurelError): boolean {
  return error.status === 0 || error.status === 202 || error.status >= 500;
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
