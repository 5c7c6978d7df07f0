import { Emitter } from '../emitter.ts';
import type { LaurelError } from '../errors.ts';
import type { Board, BoardUpdate, ConnectionState, TransportName } from '../types.ts';
import type { Feed, FeedSink } from './feed.ts';
import { AsyncQueue } from './queue.ts';
import type { BoardState, Step } from './reducer.ts';
import { NOTHING, disconnected, receiveFrame, receiveSnapshot } from './reducer.ts';

/** The longest that a timer can be set for, ms. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/** Makes the feeds that a watcher chooses from. */
export type Feeds = Record<TransportName, (sink: FeedSink) => Feed>;

/**
 * A board that is kept current. As an async iterable it yields the board as it is, then every change; with
 * {@link onChange} it calls. Follows by Socket.IO, else by SSE, else by asking every few seconds, and goes
 * back to the better way when it can.
 */
export class BoardWatcher implements AsyncIterable<BoardUpdate> {
  readonly #feeds: Feeds;
  /** Best first. */
  readonly #order: readonly TransportName[];
  readonly #onClose: (watcher: BoardWatcher) => void;
  readonly #running = new Map<TransportName, Feed>();
  readonly #joined = new Set<TransportName>();
  readonly #changes = new Emitter<BoardUpdate>();
  readonly #states = new Emitter<ConnectionState>();
  readonly #errors = new Emitter<LaurelError>();
  readonly #queues = new Set<AsyncQueue<BoardUpdate>>();
  #known: BoardState = NOTHING;
  #state: ConnectionState = 'connecting';
  #pollFailed = false;
  #error: LaurelError | null = null;
  #trouble: LaurelError | null = null;
  #closed = false;
  #rollover: ReturnType<typeof setTimeout> | undefined;

  /** Made by {@link LaurelClient.watch}. */
  constructor(feeds: Feeds, transports: readonly TransportName[], onClose: (watcher: BoardWatcher) => void) {
    this.#feeds = feeds;
    this.#onClose = onClose;
    this.#order = transports;
    // Listeners are added right after; none of them may miss the first word.
    queueMicrotask(() => {
      const first = this.#order[0];
      if (first) this.#start(first);
    });
  }

  /** The last board known, null before the first one. */
  get board(): Board | null {
    return this.#known.board;
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** What carries the board just now, null while nothing does. */
  get transport(): TransportName | null {
    return this.#order.find((name) => this.#joined.has(name)) ?? null;
  }

  /** Why the watcher has ended for good: no such board, not allowed. */
  get error(): LaurelError | null {
    return this.#error;
  }

  /** Why the last try failed, null while the board is followed. */
  get trouble(): LaurelError | null {
    return this.#trouble;
  }

  /** Called with the board as it is (soon, if there is one), then with every change. */
  onChange(listener: (update: BoardUpdate) => void): () => void {
    const off = this.#changes.on(listener);
    const { board } = this.#known;
    let listening = true;
    if (board) {
      queueMicrotask(() => {
        // An update that came meanwhile says all this would.
        if (listening && this.#known.board === board) listener({ board, changes: [], cause: 'snapshot' });
      });
    }
    return () => {
      listening = false;
      off();
    };
  }

  /** Called whenever {@link state} changes. */
  onState(listener: (state: ConnectionState) => void): () => void {
    return this.#states.on(listener);
  }

  /** Called once, when the service refuses the board for good. */
  onError(listener: (error: LaurelError) => void): () => void {
    return this.#errors.on(listener);
  }

  /**
   * Yields until {@link close}; throws the {@link error}, if there is one. A reader that lags more than 256
   * updates behind loses the oldest, never the newest.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<BoardUpdate> {
    const queue = new AsyncQueue<BoardUpdate>(() => {
      this.#queues.delete(queue);
    });
    if (this.#known.board) queue.push({ board: this.#known.board, changes: [], cause: 'snapshot' });
    if (this.#closed) queue.end(this.#error ?? undefined);
    else this.#queues.add(queue);
    return queue;
  }

  /** Asks anew at once, for instance when the network is back. */
  refresh(): void {
    this.#active()?.resync();
  }

  close(): void {
    this.#end();
  }

  #end(error?: LaurelError): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#rollover);
    for (const feed of this.#running.values()) feed.stop();
    this.#running.clear();
    this.#joined.clear();
    if (error) {
      this.#error = error;
      this.#errors.emit(error);
    }
    this.#setState('offline');
    for (const queue of this.#queues) queue.end(error);
    this.#queues.clear();
    this.#onClose(this);
  }

  #start(name: TransportName): void {
    if (this.#closed || this.#running.has(name) || !this.#order.includes(name)) return;
    const feed = this.#feeds[name](this.#sink(name));
    this.#running.set(name, feed);
  }

  #stop(name: TransportName): void {
    this.#running.get(name)?.stop();
    this.#running.delete(name);
    this.#joined.delete(name);
  }

  #active(): Feed | undefined {
    const { transport } = this;
    return transport ? this.#running.get(transport) : undefined;
  }

  #sink(name: TransportName): FeedSink {
    const ours = (run: () => void) => {
      if (!this.#closed && this.#running.has(name)) run();
    };
    return {
      joined: (snapshot) => {
        ours(() => {
          this.#hasJoined(name, snapshot);
        });
      },
      frame: (frame) => {
        ours(() => {
          this.#take(receiveFrame(this.#known, frame), name);
        });
      },
      lost: (error) => {
        ours(() => {
          this.#trouble = error;
          this.#hasLost(name);
        });
      },
      exhausted: () => {
        ours(() => {
          if (name === 'socket') this.#start('sse');
          this.#start('polling');
        });
      },
      refused: (error) => {
        ours(() => {
          this.#end(error);
        });
      },
      version: () => (this.#known.syncing ? null : (this.#known.board?.version ?? null)),
    };
  }

  #hasJoined(name: TransportName, snapshot: Board | null): void {
    this.#joined.add(name);
    this.#trouble = null;
    if (name === 'polling') this.#pollFailed = false;
    // Whatever is worse than this one has done its duty.
    for (const worse of this.#order.slice(this.#order.indexOf(name) + 1)) this.#stop(worse);
    if (snapshot) this.#take(receiveSnapshot(this.#known, snapshot), name);
    this.#judge();
  }

  #hasLost(name: TransportName): void {
    const carried = this.transport === name;
    this.#joined.delete(name);
    if (name === 'polling') this.#pollFailed = true;
    else {
      // A stream that names the version it has needs no snapshot to go on; a room does.
      if (name === 'socket' && carried) this.#known = disconnected(this.#known);
      // Until the connection is back, or another one takes over, the board is asked for.
      if (!this.transport) this.#start('polling');
    }
    this.#judge();
  }

  #take(step: Step, name: TransportName): void {
    this.#known = step.state;
    for (const update of step.updates) {
      this.#changes.emit(update);
      for (const queue of this.#queues) queue.push(update);
    }
    if (step.updates.length > 0) this.#awaitRollover();
    if (step.resync) this.#running.get(name)?.resync();
  }

  /** A daily board is empty at midnight, whether or not anyone scores then. */
  #awaitRollover(): void {
    clearTimeout(this.#rollover);
    const end = Date.parse(this.#known.board?.periodEnd ?? '');
    if (Number.isNaN(end)) return;
    // Spread, because every client has the same midnight; never at once, if the clocks disagree.
    const wait = Math.max(end - Date.now(), 3_000) + Math.random() * 2_000;
    this.#rollover = setTimeout(
      () => {
        this.#awaitRollover();
        // Steps say nothing of the period: only a snapshot does, even of a version that we have.
        this.#known = disconnected(this.#known);
        this.#active()?.resync();
      },
      Math.min(wait, TIMER_MAX_MS),
    );
  }

  #judge(): void {
    const { transport } = this;
    if (transport === 'polling') this.#setState('polling');
    else if (transport) this.#setState('live');
    else this.#setState(this.#pollFailed ? 'offline' : 'connecting');
  }

  #setState(state: ConnectionState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#states.emit(state);
  }
}
