import { LaurelError, badResponse, isRecord, parseProblem } from './errors.ts';
import { pageOrigin } from './platform.ts';

/** Values left undefined are left out of the query string. */
export type Query = Record<string, string | number | boolean | undefined>;

/** One request to the service. */
export interface HttpRequest {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Below `/api/v1`, begins with a slash. */
  path: string;
  query?: Query;
  /** Sent as JSON. */
  body?: unknown;
  headers?: Record<string, string>;
  token?: string | null;
  signal?: AbortSignal | undefined;
  /** For headers and body together, ms. */
  timeoutMs?: number;
  /** The caller tries again by itself. */
  once?: boolean;
}

/** An answer below 400. `body` is undefined for 204 and 304. */
export interface HttpResponse<T> {
  status: number;
  headers: Headers;
  body: T;
}

/** Sends requests and turns whatever goes wrong into a {@link LaurelError}. Retries nothing. */
export class Http {
  readonly baseUrl: string;
  readonly #fetch: typeof fetch;
  readonly #timeoutMs: number;

  constructor(options: {
    baseUrl: string;
    fetch?: typeof fetch | undefined;
    timeoutMs?: number | undefined;
  }) {
    this.baseUrl = serviceUrl(options.baseUrl, 'baseUrl');
    // Browsers refuse a fetch that has lost its `this`.
    this.#fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
    this.#timeoutMs = options.timeoutMs ?? 10_000;
  }

  /** The absolute URL of `path` below `/api/v1`. */
  url(path: string, query: Query = {}, base: string = this.baseUrl): string {
    const pairs = Object.entries(query).flatMap(([name, value]) =>
      value === undefined ? [] : [`${encodeURIComponent(name)}=${encodeURIComponent(value)}`],
    );
    return `${base}/api/v1${path}${pairs.length > 0 ? `?${pairs.join('&')}` : ''}`;
  }

  /**
   * @throws {LaurelError} for every status of 400 or above, `NETWORK_ERROR`, `TIMEOUT`, `ABORTED`, and
   *   `BAD_RESPONSE` for a body that is not JSON
   */
  async send<T>(request: HttpRequest): Promise<HttpResponse<T>> {
    const timer = new AbortController();
    const timeoutMs = request.timeoutMs ?? this.#timeoutMs;
    const timeout = setTimeout(() => {
      timer.abort();
    }, timeoutMs);
    const abort = () => {
      timer.abort();
    };
    if (request.signal?.aborted) abort();
    else request.signal?.addEventListener('abort', abort, { once: true });
    try {
      const response = await this.open(request, timer.signal);
      const raw = response.status === 204 || response.status === 304 ? '' : await response.text();
      const body = parseJson(raw);
      if (response.status >= 400) {
        throw parseProblem(response.status, (name) => response.headers.get(name), body);
      }
      // All that Laurel says is an object; only these two say nothing.
      if (response.status !== 204 && response.status !== 304 && !isRecord(body)) {
        throw badResponse(response.status, 'The answer is not a JSON object. Does baseUrl point at Laurel?');
      }
      return { status: response.status, headers: response.headers, body: body as T };
    } catch (error) {
      throw this.#explain(error, request, timer.signal, timeoutMs);
    } finally {
      clearTimeout(timeout);
      request.signal?.removeEventListener('abort', abort);
    }
  }

  /** The bare answer, whatever its status, for bodies that are read as they come. */
  open(request: HttpRequest, signal: AbortSignal, base?: string): Promise<Response> {
    const headers: Record<string, string> = { accept: 'application/json', ...request.headers };
    if (request.body !== undefined) headers['content-type'] = 'application/json';
    if (request.token) headers['authorization'] = `Bearer ${request.token}`;
    // Followed to another origin, a redirect would take a password or a refresh token along.
    const init: RequestInit = { method: request.method ?? 'GET', headers, signal, redirect: 'error' };
    if (request.body !== undefined) init.body = JSON.stringify(request.body);
    return this.#fetch(this.url(request.path, request.query, base), init);
  }

  #explain(error: unknown, request: HttpRequest, ours: AbortSignal, timeoutMs: number): LaurelError {
    if (error instanceof LaurelError) return error;
    const url = this.url(request.path, request.query);
    const [code, detail] = request.signal?.aborted
      ? ['ABORTED', 'The request was cancelled.']
      : ours.aborted
        ? ['TIMEOUT', `${url} did not answer within ${timeoutMs} ms.`]
        : ['NETWORK_ERROR', unreachable(url)];
    return new LaurelError({ status: 0, code, detail, cause: error });
  }
}

/** What may be wrong when a request got no answer. Browsers do not tell a refused origin from a service that is away. */
function unreachable(url: string): string {
  const origin = pageOrigin();
  const foreign = origin !== undefined && origin !== new URL(url).origin;
  const advice = foreign
    ? ` This page is of ${origin}: the service must have that origin in CORS_ORIGINS.`
    : '';
  return `${url} could not be reached. Check the address (redirects are not followed), and that the service runs.${advice}`;
}

/**
 * The address of a service, without a slash at its end.
 *
 * @throws TypeError where it is none: a mistake in the program, which no later try will mend
 */
export function serviceUrl(value: unknown, option: 'baseUrl' | 'realtimeUrl'): string {
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined;
  if (url && (url.protocol === 'http:' || url.protocol === 'https:'))
    return String(value).replace(/\/+$/, '');
  throw new TypeError(
    `new LaurelClient({ ${option} }) needs an address such as https://play.example.com (in a page that the service itself serves: location.origin), not ${JSON.stringify(value)}.`,
  );
}

function parseJson(raw: string): unknown {
  if (raw === '') return undefined;
  try {
    return JSON.parse(raw);
  } catch {
    // The caller tells a proxy's HTML page apart by the status and by undefined.
    return undefined;
  }
}
