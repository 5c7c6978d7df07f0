import { LaurelError, badResponse, parseProblem, toLaurelError } from '../errors.ts';
import type { Http } from '../http.ts';
import { CONNECT_BACKOFF, jitterMs, retryDelayMs, sleep } from '../retry.ts';
import { isTokenRefused } from '../session.ts';
import type { Session } from '../session.ts';
import type { BoardKey, Feed, FeedSink, WatchTuning } from './feed.ts';
import { isFinal, upgradeDelayMs } from './feed.ts';
import { isBoard, isFrame } from './forms.ts';
import { SseParser } from './sse-parser.ts';

/** Until the stream has begun, ms. */
const PATIENCE_MS = 8_000;
/** A stream this silent (ms) may be dead without anyone having said so. */
const SILENCE_MS = 60_000;

/**
 * Follows a board by server-sent events. Read through `fetch` and not `EventSource`, which Node 20 lacks and
 * which cannot send an access token.
 */
export class SseFeed implements Feed {
  readonly #stop = new AbortController();
  readonly #key: BoardKey;
  readonly #sink: FeedSink;
  readonly #http: Http;
  readonly #session: Session;
  readonly #url: string;
  readonly #tuning: WatchTuning;
  #stream: AbortController | null = null;
  #resyncing = false;

  constructor(
    key: BoardKey,
    sink: FeedSink,
    options: { http: Http; session: Session; url: string; tuning: WatchTuning },
  ) {
    this.#key = key;
    this.#sink = sink;
    this.#http = options.http;
    this.#session = options.session;
    this.#url = options.url;
    this.#tuning = options.tuning;
    void this.#run();
  }

  resync(): void {
    this.#resyncing = true;
    this.#stream?.abort();
  }

  stop(): void {
    this.#stop.abort(new Error('stopped'));
    this.#stream?.abort();
  }

  async #run(): Promise<void> {
    let failures = 0;
    let resyncs = 0;
    while (!this.#stop.signal.aborted) {
      const parser = new SseParser();
      const began = Date.now();
      try {
        await this.#read(parser);
        throw new LaurelError({ status: 0, code: 'NETWORK_ERROR', detail: 'The event stream has ended.' });
      } catch (cause) {
        if (this.#stop.signal.aborted) return;
        const lasted = Date.now() - began > 10_000;
        if (lasted) resyncs = 0;
        if (this.#resyncing) {
          this.#resyncing = false;
          await this.#pause(resyncs === 0 ? 0 : retryDelayMs(resyncs, CONNECT_BACKOFF));
          resyncs++;
          continue;
        }
        const error = toLaurelError(cause);
        if (isFinal(error.code)) {
          this.#sink.refused(error);
          return;
        }
        failures = lasted ? 1 : failures + 1;
        // There is no such route, or the platform cannot stream: five tries would say the same.
        if (error.status === 404 || error.status === 405 || error.status === 501) {
          failures = Math.max(failures, this.#tuning.attempts);
        }
        this.#sink.lost(error);
        const spent = failures - this.#tuning.attempts;
        if (spent === 0) this.#sink.exhausted();
        await this.#pause(
          spent >= 0
            ? jitterMs(upgradeDelayMs(spent, this.#tuning))
            : retryDelayMs(failures, CONNECT_BACKOFF, error.retryAfterMs ?? parser.retryMs),
        );
      }
    }
  }

  async #pause(ms: number): Promise<void> {
    try {
      await sleep(ms, this.#stop.signal);
    } catch {
      // Stopped: the loop's own condition ends it.
      return;
    }
  }

  async #read(parser: SseParser): Promise<void> {
    const stream = new AbortController();
    this.#stream = stream;
    let watchdog = setTimeout(() => {
      stream.abort();
    }, PATIENCE_MS);
    try {
      const response = await this.#open(stream.signal);
      if (!response.body) {
        throw new LaurelError({
          status: 501,
          code: 'BAD_RESPONSE',
          detail: 'Streams are not supported here.',
        });
      }
      const reader = response.body.getReader();
      const decoder = new TextDecoder();
      if (this.#sink.version() !== null) this.#sink.joined(null);
      for (;;) {
        clearTimeout(watchdog);
        watchdog = setTimeout(() => {
          stream.abort();
        }, SILENCE_MS);
        const { done, value } = await reader.read();
        if (done) return;
        for (const event of parser.push(decoder.decode(value, { stream: true }))) {
          if (stream.signal.aborted) return;
          if (event.event === 'leaderboard:snapshot') this.#sink.joined(read(event.data, isBoard));
          else if (event.event === 'leaderboard:update') this.#sink.frame(read(event.data, isFrame));
        }
      }
    } finally {
      clearTimeout(watchdog);
      stream.abort();
    }
  }

  async #open(signal: AbortSignal): Promise<Response> {
    const version = this.#sink.version();
    const request = {
      path: `/leaderboards/${encodeURIComponent(this.#key.leaderboard)}/stream`,
      query: { period: this.#key.period },
      headers: {
        accept: 'text/event-stream',
        ...(version !== null && { 'last-event-id': String(version) }),
      },
    };
    const token = await this.#session.accessToken();
    const send = async (as: string | null) => {
      const response = await this.#http.open({ ...request, token: as }, signal, this.#url);
      if (response.status < 400) return response;
      const body: unknown = await response.json().catch(() => undefined);
      throw parseProblem(response.status, (name) => response.headers.get(name), body);
    };
    try {
      return await send(token);
    } catch (error) {
      if (!token || !isTokenRefused(error)) throw error;
      return send(await this.#session.refresh(token));
    }
  }
}

/** @throws {LaurelError} `BAD_RESPONSE` where the data is not of its form */
function read<T>(data: string, isOfForm: (value: unknown) => value is T): T {
  const value: unknown = JSON.parse(data);
  if (!isOfForm(value)) throw badResponse(200, 'The event stream does not say what Laurel would.');
  return value;
}
