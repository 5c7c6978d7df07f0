import type { CompletionResult } from './types.ts';
import { parseRetryAfter } from './retry.ts';

/** One invalid field of a request. */
export interface FieldError {
  path: string;
  message: string;
}

/** What a {@link LaurelError} is made of. */
export interface LaurelErrorInit {
  status: number;
  code: string;
  detail: string;
  errors?: FieldError[];
  retryAfterMs?: number;
  requestId?: string;
  result?: CompletionResult;
  statusUrl?: string;
  cause?: unknown;
}

/**
 * Everything that the SDK throws. `code` is stable: one of the service's (`RATE_LIMITED`,
 * `ACTION_ALREADY_COMPLETED`, …) or, with `status` 0, one of the SDK's own: `NETWORK_ERROR`, `TIMEOUT`,
 * `ABORTED`, `CLOSED`, `NO_SIGNING_KEY`, `BAD_RESPONSE`; and `ACTION_HELD` for an action under review.
 */
export class LaurelError extends Error {
  override readonly name = 'LaurelError';
  /** HTTP status, 0 where no answer came. */
  readonly status: number;
  readonly code: string;
  /** One sentence for people, in English. */
  readonly detail: string;
  /** The fields that were wrong, for `INVALID_REQUEST`. */
  readonly errors: readonly FieldError[];
  /** How long the service asks to wait (ms), where it does. */
  readonly retryAfterMs: number | undefined;
  /** Quote it to the operators: their logs carry it. */
  readonly requestId: string | undefined;
  /** The first answer, for `ACTION_ALREADY_COMPLETED`. */
  readonly result: CompletionResult | undefined;
  /** Where an accepted completion can be asked about, for a `TIMEOUT` that came before it was counted. */
  readonly statusUrl: string | undefined;

  constructor(init: LaurelErrorInit) {
    super(`${init.code}: ${init.detail}`, init.cause === undefined ? undefined : { cause: init.cause });
    this.status = init.status;
    this.code = init.code;
    this.detail = init.detail;
    this.errors = init.errors ?? [];
    this.retryAfterMs = init.retryAfterMs;
    this.requestId = init.requestId;
    this.result = init.result;
    this.statusUrl = init.statusUrl;
  }
}

/** A rate limit that ends within this time (ms) is waited for; a longer one is for the game to explain. */
const SHORT_LIMIT_MS = 5_000;

/** Whether sending the same request again may help, and how long to wait at least (ms). */
export function transient(error: unknown): number | false {
  if (!(error instanceof LaurelError)) return false;
  const { status, code, retryAfterMs } = error;
  if (code === 'NETWORK_ERROR' || code === 'TIMEOUT') return status === 0 ? 0 : false;
  if (code === 'RATE_LIMITED')
    return retryAfterMs !== undefined && retryAfterMs <= SHORT_LIMIT_MS ? retryAfterMs : false;
  return status >= 502 && status <= 504 ? (retryAfterMs ?? 0) : false;
}

/** Whatever was thrown, as a {@link LaurelError}. */
export function toLaurelError(error: unknown): LaurelError {
  if (error instanceof LaurelError) return error;
  const detail = error instanceof Error ? error.message : String(error);
  return new LaurelError({ status: 0, code: 'NETWORK_ERROR', detail, cause: error });
}

/**
 * The error that an HTTP answer of 400 or above stands for. Bodies that are not problem+json (a proxy's HTML
 * page) give the code `HTTP_<status>`, and nothing of their text.
 */
export function parseProblem(
  status: number,
  header: (name: string) => string | null,
  body: unknown,
  now: number = Date.now(),
): LaurelError {
  const problem = isRecord(body) ? body : {};
  const init: LaurelErrorInit = {
    status,
    code: text(problem['code']) ?? `HTTP_${status}`,
    detail: text(problem['detail']) ?? text(problem['title']) ?? `The service answered ${status}.`,
  };
  const retryAfterMs = parseRetryAfter(header('retry-after'), now);
  if (retryAfterMs !== undefined) init.retryAfterMs = retryAfterMs;
  const requestId = header('x-request-id');
  if (requestId) init.requestId = requestId;
  if (Array.isArray(problem['errors'])) {
    init.errors = problem['errors'].filter(isRecord).map((field) => ({
      path: text(field['path']) ?? '',
      message: text(field['message']) ?? '',
    }));
  }
  if (isRecord(problem['result'])) init.result = problem['result'] as unknown as CompletionResult;
  return new LaurelError(init);
}

/** An answer below 400 that is not what Laurel would say. */
export function badResponse(status: number, detail: string): LaurelError {
  return new LaurelError({ status, code: 'BAD_RESPONSE', detail });
}

/** Narrows to a JSON object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
