import { Emitter } from '../emitter.ts';
import { LaurelError, isRecord } from '../errors.ts';
import { CONNECT_BACKOFF, backoffMs, hintMs, jitterMs } from '../retry.ts';
import type { Session } from '../session.ts';
import { isBoard, isFrame } from './forms.ts';
import type { SocketFactory, SocketLike, UserEvents } from '../types.ts';
import type { BoardKey, Feed, FeedSink, WatchTuning } from './feed.ts';
import { isFinal, upgradeDelayMs } from './feed.ts';

/** For the connection and for each acknowledgement, ms. */
const PATIENCE_MS = 8_000;
/** A connection that lasts this long (ms) has proved itself: failures before it are forgotten. */
const PROVEN_MS = 10_000;
/** A page that switches boards leaves one before it watches the next: keep the socket that long (ms). */
const LINGER_MS = 1_000;

/** A connection that is about to lose its token is made anew within that time (ms), so that not all come at once. */
const RENEW_SPREAD_MS = 10_000;
/** Counts as so many failed tries beyond all: the next one is minutes away, and another transport carries on. */
const GIVE_WAY = 4;

const USER_EVENTS = [
  'score:update',
  'rank:achieved',
  'achievement:unlocked',
  'player:action',
  'action:result',
] as const satisfies readonly (keyof UserEvents)[];

interface Join {
  readonly key: BoardKey;
  readonly sink: FeedSink;
  /** Marks the join that is under way, so that the answer to an earlier one is not taken for its own. */
  turn: number;
  refusals: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/**
 * One Socket.IO connection for everything that a client watches. Reconnects by itself, joins every room again
 * when it does, and is gone when nobody needs it.
 */
export class SocketHub {
  readonly #url: string;
  readonly #session: Session;
  readonly #tuning: WatchTuning;
  readonly #loadIo: () => Promise<SocketFactory>;
  readonly #joins = new Set<Join>();
  readonly #spectated = new Map<string, number>();
  readonly #listeners = new Map<string, Emitter<unknown>>();
  readonly #unlistenSession: () => void;
  #socket: SocketLike | null = null;
  #token: string | null = null;
  #tokenRefused = false;
  /** Counts connections asked for; whatever belongs to an earlier one is stale. */
  #epoch = 0;
  #failures = 0;
  #exhausted = false;
  #busy = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #renewTimer: ReturnType<typeof setTimeout> | undefined;
  #provenTimer: ReturnType<typeof setTimeout> | undefined;
  #patience: ReturnType<typeof setTimeout> | undefined;

  constructor(options: {
    url: string;
    session: Session;
    tuning: WatchTuning;
    io?: SocketFactory | undefined;
  }) {
    this.#url = options.url;
    this.#session = options.session;
    this.#tuning = options.tuning;
    const { io } = options;
    this.#loadIo = io ? () => Promise.resolve(io) : importIo;
    this.#unlistenSession = this.#session.on(() => {
      this.#startOver();
    });
  }

  /** Follows a board. */
  join(key: BoardKey, sink: FeedSink): Feed {
    const join: Join = { key, sink, turn: 0, refusals: 0, timer: undefined };
    this.#joins.add(join);
    if (this.#exhausted) {
      // Known to be of no use for now: let the watcher take another way at once.
      queueMicrotask(() => {
        if (this.#joins.has(join) && this.#exhausted) sink.exhausted();
      });
    }
    if (this.#socket?.connected) this.#sendJoin(join);
    else this.#wake();
    return {
      resync: () => {
        if (!this.#joins.has(join) || !this.#socket?.connected) return;
        clearTimeout(join.timer);
        // The first gap is closed at once; gaps in a row are asked about ever less often.
        const wait = join.refusals === 0 ? 0 : backoffMs(join.refusals, CONNECT_BACKOFF);
        join.refusals++;
        join.timer = setTimeout(() => {
          this.#sendJoin(join);
        }, wait);
      },
      stop: () => {
        clearTimeout(join.timer);
        if (!this.#joins.delete(join)) return;
        const shared = [...this.#joins].some((other) => sameBoard(other.key, key));
        if (!shared && this.#socket?.connected) this.#socket.emit('leave:leaderboard', key, () => undefined);
        this.#sleepIfUnused();
      },
    };
  }

  /** Hears an event of the player's own room or of a spectated user. */
  on<E extends keyof UserEvents>(event: E, listener: (payload: UserEvents[E]) => void): () => void {
    let emitter = this.#listeners.get(event);
    if (!emitter) this.#listeners.set(event, (emitter = new Emitter<unknown>()));
    const off = emitter.on((payload) => {
      listener(payload as UserEvents[E]);
    });
    this.#wake();
    return () => {
      off();
      this.#sleepIfUnused();
    };
  }

  /** Joins a user's room for as long as someone asks for it. */
  spectate(userId: string): () => void {
    const watchers = this.#spectated.get(userId) ?? 0;
    this.#spectated.set(userId, watchers + 1);
    if (watchers === 0 && this.#socket?.connected) {
      this.#socket.emit('spectate:user', { userId }, () => undefined);
    }
    this.#wake();
    let done = false;
    return () => {
      if (done) return;
      done = true;
      const left = (this.#spectated.get(userId) ?? 1) - 1;
      if (left > 0) this.#spectated.set(userId, left);
      else {
        this.#spectated.delete(userId);
        if (this.#socket?.connected) this.#socket.emit('unspectate:user', { userId }, () => undefined);
        this.#sleepIfUnused();
      }
    };
  }

  /** Tries now instead of at the next turn: the network is back. */
  hurry(): void {
    if (!this.#used() || this.#busy || this.#socket?.connected) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#wake();
  }

  close(): void {
    this.#unlistenSession();
    for (const join of this.#joins) clearTimeout(join.timer);
    this.#joins.clear();
    this.#spectated.clear();
    this.#listeners.clear();
    this.#drop();
  }

  #used(): boolean {
    const heard = [...this.#listeners.values()].some((emitter) => emitter.size > 0);
    return this.#joins.size > 0 || this.#spectated.size > 0 || heard;
  }

  #wake(): void {
    if (this.#busy || this.#timer !== undefined || this.#socket?.connected) return;
    void this.#connect();
  }

  async #connect(): Promise<void> {
    const epoch = ++this.#epoch;
    this.#busy = true;
    let io: SocketFactory;
    try {
      io = await this.#loadIo();
    } catch (error) {
      // Not installed: no later try will find it.
      if (epoch !== this.#epoch) return;
      this.#failures = Math.max(this.#failures, this.#tuning.attempts - 1);
      this.#fail(
        new LaurelError({ status: 0, code: 'NETWORK_ERROR', detail: 'No socket.io-client.', cause: error }),
      );
      return;
    }
    try {
      const token = await this.#session.accessToken();
      if (epoch !== this.#epoch) return;
      this.#token = token;
    } catch (error) {
      if (epoch === this.#epoch) this.#fail(lostBecause(error));
      return;
    }
    this.#socket = this.#open(io, epoch);
    this.#patience = setTimeout(() => {
      if (epoch === this.#epoch) this.#fail(lostBecause(new Error('The connection took too long.')));
    }, PATIENCE_MS);
    this.#socket.connect();
  }

  #open(io: SocketFactory, epoch: number): SocketLike {
    const socket = io(this.#url, {
      autoConnect: false,
      reconnection: false,
      forceNew: true,
      // Long polling over HTTP would need sticky sessions at the load balancer; SSE and polling are our own.
      transports: ['websocket'],
      timeout: PATIENCE_MS,
      auth: (send) => {
        send(this.#token ? { token: this.#token } : {});
      },
    });
    const current = (run: () => void) => {
      if (epoch === this.#epoch) run();
    };
    socket.on('connect', () => {
      current(() => {
        this.#connected();
      });
    });
    socket.on('connect_error', (error: Error & { data?: unknown }) => {
      current(() => void this.#refused(error));
    });
    socket.on('disconnect', (reason: string) => {
      current(() => {
        this.#fail(lostBecause(new Error(reason)));
      });
    });
    socket.on('session:expiring', () => {
      current(() => {
        this.#renewSoon();
      });
    });
    socket.on('session:closed', (notice: unknown) => {
      current(() => {
        // A newer connection of the same user took this one's place: two that take it from each other in turn help nobody.
        if (isRecord(notice) && notice['code'] === 'TOO_MANY_CONNECTIONS')
          this.#failures = this.#tuning.attempts + GIVE_WAY;
      });
    });
    socket.on('leaderboard:update', (frame: unknown) => {
      current(() => {
        if (!isFrame(frame)) return;
        for (const join of this.#joins) if (sameBoard(join.key, frame)) join.sink.frame(frame);
      });
    });
    for (const event of USER_EVENTS) {
      socket.on(event, (payload: unknown) => {
        current(() => {
          if (isRecord(payload)) this.#listeners.get(event)?.emit(payload);
        });
      });
    }
    return socket;
  }

  #connected(): void {
    clearTimeout(this.#patience);
    this.#busy = false;
    this.#tokenRefused = false;
    this.#provenTimer = setTimeout(() => {
      this.#failures = 0;
      this.#exhausted = false;
    }, PROVEN_MS);
    for (const join of this.#joins) {
      join.refusals = 0;
      this.#sendJoin(join);
    }
    for (const userId of this.#spectated.keys()) {
      this.#socket?.emit('spectate:user', { userId }, () => undefined);
    }
  }

  #sendJoin(join: Join): void {
    const { key, sink } = join;
    const turn = ++join.turn;
    const epoch = this.#epoch;
    const isOver = () => turn !== join.turn || epoch !== this.#epoch || !this.#joins.has(join);
    const failed = (error: LaurelError) => {
      sink.lost(error);
      join.timer = setTimeout(
        () => {
          if (!isOver()) this.#sendJoin(join);
        },
        (error.retryAfterMs ?? 0) + 250 + backoffMs(join.refusals++, CONNECT_BACKOFF),
      );
    };
    clearTimeout(join.timer);
    join.timer = setTimeout(() => {
      if (!isOver()) failed(lostBecause(new Error('The service did not acknowledge in time.')));
    }, PATIENCE_MS);
    this.#socket?.emit('join:leaderboard', key, (answer: unknown) => {
      if (isOver()) return;
      clearTimeout(join.timer);
      if (isRecord(answer) && answer['ok'] === true && isBoard(answer['snapshot'])) {
        sink.joined(answer['snapshot']);
        // A quiet while shows that the snapshot closed the gap.
        join.timer = setTimeout(() => {
          join.refusals = 0;
        }, PROVEN_MS);
        return;
      }
      const code = isRecord(answer) && typeof answer['code'] === 'string' ? answer['code'] : 'BAD_RESPONSE';
      const error = new LaurelError({ status: 0, code, detail: 'The service refused to join the board.' });
      if (isFinal(code)) sink.refused(error);
      else failed(error);
    });
  }

  async #refused(error: Error & { data?: unknown }): Promise<void> {
    const code = isRecord(error.data) ? error.data['code'] : undefined;
    const token = this.#token;
    if (token && !this.#tokenRefused && (code === 'TOKEN_EXPIRED' || code === 'UNAUTHENTICATED')) {
      this.#tokenRefused = true;
      const epoch = this.#epoch;
      try {
        await this.#session.refresh(token);
      } catch (cause) {
        if (epoch === this.#epoch) this.#fail(lostBecause(cause));
        return;
      }
      if (epoch !== this.#epoch) return;
      this.#drop();
      this.#wake();
      return;
    }
    const hint = isRecord(error.data) ? error.data['retryAfterMs'] : undefined;
    this.#fail(lostBecause(error), hintMs(typeof hint === 'number' ? hint : 0));
  }

  /** @param atLeastMs what the service asked to wait, ms */
  #fail(error: LaurelError, atLeastMs = 0): void {
    this.#drop();
    if (!this.#used()) return;
    this.#failures++;
    const spent = this.#failures - this.#tuning.attempts;
    const wait =
      spent >= 0 ? jitterMs(upgradeDelayMs(spent, this.#tuning)) : backoffMs(this.#failures, CONNECT_BACKOFF);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#used()) this.#wake();
    }, wait + atLeastMs);
    this.#exhausted = spent >= 0;
    for (const join of [...this.#joins]) {
      join.sink.lost(error);
      if (this.#exhausted) join.sink.exhausted();
    }
  }

  /** Another user, or none: the connection must be theirs. */
  #startOver(): void {
    const idle = !this.#socket && !this.#busy && this.#timer === undefined;
    this.#drop();
    this.#failures = 0;
    this.#exhausted = false;
    this.#tokenRefused = false;
    if (idle || !this.#used()) return;
    for (const join of [...this.#joins]) join.sink.lost(lostBecause(new Error('The user changed.')));
    this.#wake();
  }

  /** The token runs out: another connection, with a new one, takes over before the service ends this one. */
  #renewSoon(): void {
    clearTimeout(this.#renewTimer);
    this.#renewTimer = setTimeout(() => {
      this.#startOver();
    }, Math.random() * RENEW_SPREAD_MS);
  }

  #drop(): void {
    this.#epoch++;
    this.#busy = false;
    clearTimeout(this.#timer);
    clearTimeout(this.#patience);
    clearTimeout(this.#provenTimer);
    clearTimeout(this.#renewTimer);
    this.#timer = undefined;
    this.#socket?.disconnect();
    this.#socket = null;
  }

  #sleepIfUnused(): void {
    if (this.#used()) return;
    setTimeout(() => {
      if (!this.#used()) this.#drop();
    }, LINGER_MS);
  }
}

function sameBoard(a: BoardKey, b: BoardKey): boolean {
  return a.leaderboard === b.leaderboard && a.period === b.period;
}

function lostBecause(cause: unknown): LaurelError {
  if (cause instanceof LaurelError) return cause;
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new LaurelError({ status: 0, code: 'NETWORK_ERROR', detail, cause });
}

async function importIo(): Promise<SocketFactory> {
  const { io } = await import('socket.io-client');
  return io as unknown as SocketFactory;
}
