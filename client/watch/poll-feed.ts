import { badResponse, toLaurelError } from '../errors.ts';
import { hintMs, jitterMs, sleep } from '../retry.ts';
import type { Board } from '../types.ts';
import type { Feed, FeedSink, WatchTuning } from './feed.ts';
import { isFinal } from './feed.ts';
import { isBoard } from './forms.ts';

/** Between tries while the service is away, ms. */
const POLL_MAX_MS = 30_000;

/**
 * Follows a board by asking for it again and again; an unchanged one costs an ETag. The first question is put
 * after a moment, because most lost connections are back before it.
 */
export class PollFeed implements Feed {
  readonly #stop = new AbortController();
  readonly #sink: FeedSink;
  readonly #read: (signal: AbortSignal) => Promise<Board>;
  readonly #tuning: WatchTuning;
  #next: AbortController | null = null;

  constructor(
    sink: FeedSink,
    options: { read: (signal: AbortSignal) => Promise<Board>; tuning: WatchTuning; firstInMs: number },
  ) {
    this.#sink = sink;
    this.#read = options.read;
    this.#tuning = options.tuning;
    void this.#run(options.firstInMs);
  }

  resync(): void {
    this.#next?.abort(new Error('now'));
  }

  stop(): void {
    this.#stop.abort(new Error('stopped'));
    this.#next?.abort(new Error('stopped'));
  }

  async #run(firstInMs: number): Promise<void> {
    await this.#pause(firstInMs);
    let failures = 0;
    while (!this.#stop.signal.aborted) {
      let wait = jitterMs(this.#tuning.pollMs);
      try {
        const board: unknown = await this.#read(this.#stop.signal);
        if (!isBoard(board)) throw badResponse(200, 'The answer is not a board.');
        if (this.#stop.signal.aborted) return;
        failures = 0;
        this.#sink.joined(board);
      } catch (cause) {
        if (this.#stop.signal.aborted) return;
        const error = toLaurelError(cause);
        if (isFinal(error.code)) {
          this.#sink.refused(error);
          return;
        }
        this.#sink.lost(error);
        const slower = jitterMs(Math.min(this.#tuning.pollMs * 2 ** failures++, POLL_MAX_MS));
        wait = Math.max(slower, hintMs(error.retryAfterMs));
      }
      await this.#pause(wait);
    }
  }

  async #pause(ms: number): Promise<void> {
    this.#next = new AbortController();
    try {
      await sleep(ms, this.#next.signal);
    } catch {
      // Woken early, to ask now or to stop.
      return;
    }
  }
}
