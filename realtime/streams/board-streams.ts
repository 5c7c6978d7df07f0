import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import Joi from 'joi';
import type { Viewer } from '../../common/board/visibility.ts';
import { originCheck } from '../../common/origins.ts';
import type { Config } from '../../common/config.ts';
import type { Identity } from '../../common/identity/access-tokens.ts';
import type { Logger } from '../../common/logger.ts';
import type { Metrics } from '../../common/metrics.ts';
import { periods, type Period } from '../../common/periods.ts';
import { fieldErrors, sentenceOf, wording } from '../../common/wording.ts';
import { watchedId, type BoardFeeds, type Watched } from '../boards/board-feeds.ts';
import type { Delivery } from '../boards/fan-out.ts';
import type { SentFrame } from '../boards/signer.ts';
import { at, type Doorman } from '../connections/doorman.ts';
import type { ConnectionLimits } from '../connections/limits.ts';
import { Refusal } from '../connections/refusal.ts';

export interface StreamDeps {
  readonly config: Config;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly identify: Doorman;
  readonly limits: ConnectionLimits;
  readonly feeds: BoardFeeds;
  /** writes a user's stream down among the user's connections, the oldest of which is closed if there are too many */
  readonly enter: (userId: string, id: string) => void;
  readonly leave: (id: string) => void;
  /** the board, if there is such a one and the caller may see it */
  readonly findBoard: (board: Watched, viewer: Viewer) => Watched | undefined;
}

interface Stream {
  readonly id: string;
  readonly response: ServerResponse;
  readonly identity: Identity | undefined;
}

/** As tolerant as the routes of the API: of case, of a slash at the end, and of an address that names the host. */
const path = /^(?:https?:\/\/[^/]*)?\/api\/v1\/leaderboards\/([^/]+)\/stream\/?$/i;
const querySchema = Joi.object<{ period: Period; _?: unknown }>({
  // Libraries add it to have an answer past every cache.
  _: Joi.any().strip(),
  period: Joi.string()
    .valid(...periods)
    .default('all'),
});
const bearer = /^Bearer +([^ ]+)$/i;
const SWEEP_MS = 1000;
/** How long a browser waits before it comes back by itself, milliseconds. */
const RETRY_MS = 2000;

/** How the ids of streams begin, among those of sockets. */
const STREAM = 'stream-';
export const isStream = (id: string): boolean => id.startsWith(STREAM);

const message = (event: string, id: number, data: unknown): Buffer =>
  Buffer.from(`event: ${event}\nid: ${id}\ndata: ${JSON.stringify(data)}\n\n`);

/**
 * Boards as server-sent events: a snapshot, then every update, each with the board's version as its id. Written out here
 * rather than taken from a library, because an update must be encoded once for all clients, and a client that does not
 * read must be cut off by what is left unsent.
 */
export class BoardStreams {
  readonly #deps: StreamDeps;
  readonly #allows: (origin: string) => boolean;
  readonly #rooms = new Map<string, Set<Stream>>();
  readonly #timers: NodeJS.Timeout[];
  #closed = false;

  constructor(deps: StreamDeps) {
    this.#deps = deps;
    this.#allows = originCheck(deps.config.CORS_ORIGINS);
    this.#timers = [
      setInterval(() => this.#heartbeat(), deps.config.REALTIME_STREAM_HEARTBEAT_SECONDS * 1000).unref(),
      setInterval(() => this.#sweep(), SWEEP_MS).unref(),
    ];
    deps.metrics.gauge('laurel_stream_connections', 'Open event streams.', [], (gauge) =>
      gauge.set([...this.#all()].length),
    );
  }

  /** Answers a request for a board's stream. @returns false when it is for something else */
  handle(request: IncomingMessage, response: ServerResponse): boolean {
    const [pathname = '', search = ''] = (request.url ?? '').split('?', 2);
    const key = path.exec(pathname)?.[1];
    if (key === undefined) return false;
    response.setHeader('X-Request-Id', randomUUID());
    response.setHeader('X-Content-Type-Options', 'nosniff');
    this.#allowOrigin(request, response);
    if (request.method === 'OPTIONS') {
      response.writeHead(204, {
        Allow: 'GET, OPTIONS',
        'Access-Control-Allow-Methods': 'GET',
        'Access-Control-Allow-Headers': 'Authorization, Last-Event-ID, Cache-Control',
        'Access-Control-Max-Age': '600',
      });
      response.end();
      return true;
    }
    const { limits, log } = this.#deps;
    const leave = limits.enter(limits.addressOf(request));
    response.once('close', leave);
    // Of a client that goes away; `close` comes too.
    for (const emitter of [request, response]) emitter.on('error', () => undefined);
    this.#open(key, search, request, response).catch((error: unknown) => {
      if (!(error instanceof Refusal)) log.warn({ err: error }, 'a stream could not be opened');
      const refusal =
        error instanceof Refusal
          ? error
          : new Refusal('UNAVAILABLE', 'The board cannot be read right now. Try again in a moment.');
      refuse(response, refusal, pathname);
    });
    return true;
  }

  /** Whether anybody here streams a board. */
  watches(board: Watched): boolean {
    return this.#rooms.has(watchedId(board));
  }

  /** Sends to all who stream a board right now. */
  deliver(board: Watched, frame: SentFrame): Delivery {
    const text = message('leaderboard:update', frame.version, frame);
    return writeEach([...(this.#rooms.get(watchedId(board)) ?? [])], text);
  }

  /** Ends those streams of a user whose access has ended. */
  closeUser(userId: string, hasEnded: (identity: Identity) => boolean): void {
    for (const { response, identity } of this.#all())
      if (identity?.userId === userId && hasEnded(identity)) response.end();
  }

  /** Ends the streams of boards that their readers may not see, or not any more. */
  reviewBoards(): void {
    for (const [id, room] of this.#rooms) {
      const [leaderboard = '', period = 'all'] = id.split(':');
      const board: Watched = { leaderboard, period: period as Period };
      if (this.#deps.findBoard(board, undefined)) continue;
      for (const { response, identity } of [...room]) {
        if (!this.#deps.findBoard(board, identity)) end(response, 'board:closed', board);
      }
    }
  }

  /** Ends a stream for which there are too many of its user's connections, if it is here. */
  closeOne(id: string): void {
    for (const stream of this.#all())
      if (stream.id === id) end(stream.response, 'session:closed', { code: 'TOO_MANY_CONNECTIONS' });
  }

  /** Users who stream here. */
  get users(): Set<string> {
    return new Set([...this.#all()].flatMap(({ identity }) => identity?.userId ?? []));
  }

  /** Ends all streams, and lets nobody in again. */
  close(): void {
    this.#closed = true;
    for (const timer of this.#timers) clearInterval(timer);
    for (const { response } of [...this.#all()]) response.end();
  }

  async #open(
    rawKey: string,
    search: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    if (request.method !== 'GET') throw new Refusal('METHOD_NOT_ALLOWED', 'Streams are opened with GET.');
    const { limits, identify, findBoard, feeds } = this.#deps;
    const { authorization } = request.headers;
    const token = bearer.exec(authorization ?? '')?.[1];
    if (authorization !== undefined && token === undefined)
      throw new Refusal('UNAUTHENTICATED', 'Send a valid access token as “Authorization: Bearer <token>”.');
    await limits.admit(limits.addressOf(request));
    const identity = await identify(token);
    const { value: query, error } = querySchema.validate(Object.fromEntries(new URLSearchParams(search)), {
      ...wording,
      abortEarly: false,
    }) as {
      value: { period: Period };
      error?: Joi.ValidationError;
    };
    if (error) {
      const errors = fieldErrors(error, querySchema);
      throw new Refusal('INVALID_REQUEST', sentenceOf(errors), { errors });
    }
    const board = findBoard({ leaderboard: decode(rawKey), period: query.period }, identity);
    if (!board) throw unknownBoard();
    try {
      await feeds.of(board).snapshot((snapshot) => {
        if (response.destroyed) return;
        if (!findBoard(board, identity)) throw unknownBoard();
        if (this.#closed) throw new Refusal('UNAVAILABLE', 'This instance is closing. Connect anew.');
        response.writeHead(200, {
          'Content-Type': 'text/event-stream; charset=utf-8',
          // A proxy that kept or compressed a stream would keep it from its reader.
          'Cache-Control': 'no-store, no-transform',
          'X-Accel-Buffering': 'no',
        });
        response.write(`retry: ${RETRY_MS}\n\n`);
        if (request.headers['last-event-id'] !== String(snapshot.version))
          response.write(message('leaderboard:snapshot', snapshot.version, snapshot));
        this.#add(board, { id: STREAM + randomUUID(), response, identity });
      });
    } finally {
      feeds.release(board);
    }
  }

  #add(board: Watched, stream: Stream): void {
    const id = watchedId(board);
    const room = this.#rooms.get(id) ?? new Set();
    this.#rooms.set(id, room);
    room.add(stream);
    const { id: streamId, response, identity } = stream;
    const { enter, leave } = this.#deps;
    if (identity) {
      enter(identity.userId, streamId);
      response.once('close', () => leave(streamId));
    }
    // With the token, the stream ends; its reader comes back with a new one.
    const cancel = identity && at(identity.expiresAt, () => response.end());
    response.once('close', () => {
      cancel?.();
      room.delete(stream);
      if (room.size > 0) return;
      if (this.#rooms.get(id) === room) this.#rooms.delete(id);
      this.#deps.feeds.release(board);
    });
  }

  #allowOrigin({ headers: { origin } }: IncomingMessage, response: ServerResponse): void {
    response.setHeader('Vary', 'Origin');
    if (origin === undefined || !this.#allows(origin)) return;
    response.setHeader('Access-Control-Allow-Origin', origin);
    response.setHeader('Access-Control-Expose-Headers', 'Retry-After, X-Request-Id');
  }

  #heartbeat(): void {
    for (const { response } of this.#all()) write(response, ':\n\n');
  }

  #sweep(): void {
    for (const { response } of this.#all())
      if (response.writableLength > this.#deps.config.REALTIME_MAX_BUFFERED_BYTES) response.destroy();
  }

  *#all(): Generator<Stream> {
    for (const room of this.#rooms.values()) yield* room;
  }
}

const unknownBoard = (): Refusal =>
  new Refusal(
    'LEADERBOARD_NOT_FOUND',
    'There is no such leaderboard, or it does not have this period. GET /leaderboards lists them.',
  );

/** Writes, unless the stream was ended and is only sending what came before. */
function write(response: ServerResponse, text: string | Buffer): void {
  if (!response.writableEnded) response.write(text);
}

/** Ends a stream, and tells its reader why. */
function end(response: ServerResponse, event: string, data: unknown): void {
  if (!response.writableEnded) response.end(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
}

function* writeEach(streams: Iterable<Stream>, text: Buffer): Generator<void> {
  for (const { response } of streams) {
    write(response, text);
    yield;
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Refusal('INVALID_REQUEST', 'The address is not well-formed.');
  }
}

function refuse(response: ServerResponse, refusal: Refusal, instance: string): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const { retryAfterMs } = refusal;
  response.writeHead(refusal.status, {
    'Content-Type': 'application/problem+json',
    'Cache-Control': 'no-store',
    ...(retryAfterMs !== undefined && { 'Retry-After': String(Math.max(1, Math.ceil(retryAfterMs / 1000))) }),
    ...(refusal.status === 401 && { 'WWW-Authenticate': 'Bearer' }),
    ...(refusal.status === 405 && { Allow: 'GET, OPTIONS' }),
  });
  response.end(JSON.stringify(refusal.toProblem(instance)));
}
