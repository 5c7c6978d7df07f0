/** How waits between tries grow. */
export interface Backoff {
  /** The first wait's upper bound, ms. */
  baseMs: number;
  /** No wait is longer, ms. */
  maxMs: number;
}

/** For requests that a person waits for. */
const REQUEST_BACKOFF: Backoff = { baseMs: 200, maxMs: 5_000 };

/** For connections: thousands of clients come back at once after a restart. */
export const CONNECT_BACKOFF: Backoff = { baseMs: 500, maxMs: 10_000 };

/**
 * Exponential back-off with full jitter: evenly spread over 0 … min(maxMs, baseMs · 2^attempt), which keeps
 * clients that failed together from returning together.
 *
 * @param attempt 0 for the wait after the first failure
 * @param random 0 ≤ r < 1
 */
export function backoffMs(attempt: number, backoff: Backoff, random: () => number = Math.random): number {
  const ceiling = Math.min(backoff.maxMs, backoff.baseMs * 2 ** Math.min(attempt, 30));
  return Math.floor(random() * ceiling);
}

/** The longest that a service is taken at its word for, ms: a limit blocks for an hour at most. */
const HINT_MAX_MS = 3_600_000;

/** What the service asked to wait (ms), as far as it makes sense; 0 where it asked for nothing. */
export function hintMs(asked: number | undefined): number {
  return Math.min(Math.max(0, asked ?? 0), HINT_MAX_MS);
}

/** The wait before the next try (ms): never less than the service asked for. */
export function retryDelayMs(
  attempt: number,
  backoff: Backoff,
  retryAfterMs?: number,
  random: () => number = Math.random,
): number {
  return hintMs(retryAfterMs) + backoffMs(attempt, backoff, random);
}

/** A wait spread by ± `share` of itself. */
export function jitterMs(ms: number, share = 0.2, random: () => number = Math.random): number {
  return Math.round(ms * (1 - share + 2 * share * random()));
}

/**
 * `Retry-After` in ms: seconds or an HTTP date (RFC 9110, 10.2.3); undefined where absent or senseless.
 * A date in the past is 0.
 */
export function parseRetryAfter(value: string | null, now: number = Date.now()): number | undefined {
  if (value === null || value.trim() === '') return undefined;
  if (/^\s*\d+(\.\d+)?\s*$/.test(value)) return Math.round(Number(value) * 1000);
  // Engines read dates into bare numbers, too.
  const date = /[a-z]{3}/i.test(value) ? Date.parse(value) : NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** Waits `ms`; rejects with the signal's reason as soon as it is aborted. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason instanceof Error ? signal.reason : new Error('aborted'));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve();
    }, ms);
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  });
}

/** How {@link retry} goes about it. */
export interface RetryOptions {
  /** 1 or more, the first one included. */
  tries: number;
  backoff?: Backoff;
  /** Milliseconds to wait at least before another try, or false to give up with the error. */
  again: (error: unknown) => number | false;
  signal?: AbortSignal | undefined;
  /** No new try begins after this moment (ms since the epoch). */
  deadline?: number;
}

/**
 * Runs `run` until it succeeds, `again` says no, or the tries are spent; throws the last error.
 *
 * @param run gets the number of tries before this one
 */
export async function retry<T>(run: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await run(attempt);
    } catch (error) {
      const atLeast = options.again(error);
      if (atLeast === false || attempt + 1 >= options.tries) throw error;
      const wait = retryDelayMs(attempt, options.backoff ?? REQUEST_BACKOFF, atLeast);
      if (options.deadline !== undefined && Date.now() + wait > options.deadline) throw error;
      await sleep(wait, options.signal);
    }
  }
}
