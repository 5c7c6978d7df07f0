import type { IncomingMessage, Server as HttpServer } from 'node:http';
import type { Duplex } from 'node:stream';
import { Server } from 'socket.io';
import type { Viewer } from '../../common/board/visibility.ts';
import type { Config } from '../../common/config.ts';
import type { Identity } from '../../common/identity/access-tokens.ts';
import type { Logger } from '../../common/logger.ts';
import type { Metrics } from '../../common/metrics.ts';
import { delay } from '../../common/patience.ts';
import type { Redis } from '../../common/redis.ts';
import type { Watched } from '../boards/board-feeds.ts';
import type { Delivery } from '../boards/fan-out.ts';
import { ConnectionBook } from '../connections/book.ts';
import type { Doorman } from '../connections/doorman.ts';
import type { ConnectionLimits } from '../connections/limits.ts';
import { originCheck } from '../../common/origins.ts';
import { Refusal } from '../connections/refusal.ts';
import { adapterOf, CLOSE_STREAM } from './adapter.ts';
import { createRequests, type Answer, type RequestDeps } from './requests.ts';
import { RoomFrames } from './room-frames.ts';
import { boardOfRoom, boardRoom, userRoom } from './rooms.ts';
import type { Events, LaurelServer, LaurelSocket, SocketData } from './types.ts';

export interface SocketDeps extends Omit<RequestDeps, 'enter'> {
  readonly config: Config;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly identify: Doorman;
  readonly limits: ConnectionLimits;
  /** the last one left a board's room at this instance */
  readonly onBoardLeft: (board: Watched) => void;
  /** for the connection book */
  readonly redis: Redis;
  /** Whether a connection of the book is an event stream. */
  readonly isStream: (id: string) => boolean;
  /** Closes an event stream that is one too many, if it is of this instance. */
  readonly closeStream: (id: string) => void;
  /** connections for the adapter, and to be known to be alive by */
  readonly publisher: Redis;
  readonly subscriber: Redis;
}

/** Why a connection is closed from this side; told in `session:closed` right before. */
type Closed = 'TOO_MANY_CONNECTIONS' | 'TOKEN_EXPIRED' | 'USER_BANNED' | 'UNAUTHENTICATED';

/** How long before a token expires its connection is warned, milliseconds. */
const NOTICE_MS = 30_000;
/** How long a connection may take to say that it wants to be a socket, milliseconds. */
const CONNECT_MS = 5000;
/** How long one that is closed may take to close, milliseconds; ws itself waits for 30 s. */
const CLOSE_MS = 1000;
const SWEEP_MS = 1000;
/** How long connections may take to close at the end, milliseconds. */
const CLOSING_MS = 1000;
/** Requests a connection may send at once, and then a second. */
const REQUESTS_BURST = 100;
const REQUESTS_PER_SECOND = 20;

/** What the client library hands on as `connect_error.data`. */
function handshakeError(cause: unknown): Error {
  const refusal = cause instanceof Refusal ? cause : new Refusal('UNAVAILABLE', 'Try again in a moment.');
  // A token that cannot be used is one code here: whatever is wrong with it, a new one is the way out.
  const code = refusal.code === 'TOKEN_EXPIRED' ? 'UNAUTHENTICATED' : refusal.code;
  const { retryAfterMs } = refusal;
  const data = { code, detail: refusal.message, ...(retryAfterMs !== undefined && { retryAfterMs }) };
  return Object.assign(new Error(code), { data });
}

/** A page's origin is named by its browser: only listed ones, and the very host that is asked, may open sockets. */
function originAllowed(
  request: Pick<IncomingMessage, 'headers'>,
  allows: (origin: string) => boolean,
): boolean {
  const { origin, host } = request.headers;
  if (origin === undefined || allows(origin)) return true;
  try {
    return new URL(origin).host === host;
  } catch {
    return false;
  }
}

/** The Socket.IO server: who may connect and for how long, and whom it hears. */
export function createSockets(deps: SocketDeps) {
  const { config, log, metrics, identify, limits } = deps;
  const allows = originCheck(config.CORS_ORIGINS);
  const refused = metrics.counter('laurel_socket_refused_total', 'Handshakes refused, by code.', [
    'code',
  ] as const);
  const closed = metrics.counter('laurel_socket_closed_total', 'Connections closed from this side.', [
    'reason',
  ] as const);

  const io: LaurelServer = new Server<Events, Events, Events, SocketData>({
    adapter: adapterOf(deps.publisher, deps.subscriber, log),
    // Compression costs ten times the memory of the connection itself.
    perMessageDeflate: false,
    httpCompression: false,
    maxHttpBufferSize: 16_384,
    pingInterval: 25_000,
    pingTimeout: 20_000,
    connectTimeout: CONNECT_MS,
    serveClient: false,
    allowRequest: (request, done) => {
      const problem = !originAllowed(request, allows)
        ? 'the page’s origin is not allowed'
        : limits.overrun(limits.addressOf(request))
          ? 'too many connections'
          : null;
      done(problem, problem === null);
    },
    cors: {
      origin: (origin, done) => done(null, origin !== undefined && allows(origin)),
      credentials: false,
    },
  });
  const main = io.of('/');
  main.adapter.on('error', (error: unknown) => log.debug({ err: error }, 'instances do not hear each other'));
  const frames = new RoomFrames(main);
  const requests = createRequests({
    ...deps,
    enter: (socket, board) => frames.join(socket, boardRoom(board)),
  });
  let open = 0;
  /** The connections of WebSockets, which the HTTP server forgets. */
  const upgraded = new Set<Duplex>();
  metrics.gauge('laurel_socket_connections', 'Open Socket.IO connections.', [], (gauge) => gauge.set(open));

  io.use((socket, next) => {
    const welcome = async (): Promise<void> => {
      await limits.admit(limits.addressOf(socket.request));
      const token: unknown = socket.handshake.auth['token'] ?? undefined;
      if (token !== undefined && typeof token !== 'string')
        throw new Refusal('UNAUTHENTICATED', 'The access token is not valid. Sign in again.');
      const identity = await identify(token);
      if (identity) socket.data.identity = identity;
    };
    welcome().then(
      () => next(),
      (cause: unknown) => {
        const error = handshakeError(cause);
        refused.inc({ code: error.message });
        next(error);
        // A client that was refused has no use for the connection below.
        setImmediate(() => socket.conn.close());
        setTimeout(() => cutOff(socket.conn), CLOSE_MS).unref();
      },
    );
  });

  /** Closes connections at this instance, telling them why first. */
  const closeLocal = (room: string, code: Closed): void => {
    if (!main.adapter.rooms.has(room)) return;
    closed.inc({ reason: code.toLowerCase() });
    io.local.to(room).emit('session:closed', { code });
    io.local.in(room).disconnectSockets(true);
  };

  const book = new ConnectionBook(
    deps.redis,
    deps.subscriber,
    config.REALTIME_MAX_CONNECTIONS_PER_USER,
    log,
    // Wherever it is: every socket is alone in the room of its own id, and streams are asked for at all instances.
    (id) => {
      closed.inc({ reason: 'too_many_connections' });
      if (deps.isStream(id)) {
        deps.closeStream(id);
        io.serverSideEmit(CLOSE_STREAM, id);
        return;
      }
      io.to(id).emit('session:closed', { code: 'TOO_MANY_CONNECTIONS' });
      io.in(id).disconnectSockets(true);
    },
  );
  io.on(CLOSE_STREAM, (id: unknown) => {
    if (typeof id === 'string') deps.closeStream(id);
  });

  function admit(socket: LaurelSocket, identity: Identity): void {
    void socket.join(userRoom(identity.userId));
    void book.enter(identity.userId, socket.id);
    socket.on('disconnect', () => book.leave(socket.id));
    attend(socket, identity);
  }

  /** Warns a connection before its token ends, and ends it then. */
  function attend(socket: LaurelSocket, { expiresAt }: Identity): void {
    const left = expiresAt - Date.now();
    if (left <= NOTICE_MS && !socket.data.warned) {
      socket.data.warned = true;
      socket.emit('session:expiring', { expiresAt: new Date(expiresAt).toISOString() });
    }
    if (left <= 0) closeLocal(socket.id, 'TOKEN_EXPIRED');
  }

  main.on('connection', (socket) => {
    const { identity } = socket.data;
    if (identity) admit(socket, identity);
    forgetHandshake(socket);
    let allowance = REQUESTS_BURST;
    let refilledAt = Date.now();
    const take = (): boolean => {
      const now = Date.now();
      allowance = Math.min(REQUESTS_BURST, allowance + ((now - refilledAt) / 1000) * REQUESTS_PER_SECOND);
      refilledAt = now;
      if (allowance < 1) return false;
      allowance -= 1;
      return true;
    };
    // A connection's requests are answered in their order: one that leaves a board cannot overtake the one that joins it.
    let line = Promise.resolve();
    socket.onAny((event: string, ...args: unknown[]) => {
      const acknowledge =
        typeof args.at(-1) === 'function' ? (args.pop() as (answer: Answer) => void) : undefined;
      if (!take()) {
        acknowledge?.({ ok: false, code: 'RATE_LIMITED' });
        return;
      }
      line = line.then(() => requests.answer(socket, event, args[0])).then((reply) => acknowledge?.(reply));
    });
  });

  main.adapter.on('delete-room', (room: string) => {
    const board = boardOfRoom(room);
    if (board) deps.onBoardLeft(board);
  });

  /** A client that stops reading makes our send buffer grow; past the limit we disconnect it, and it starts anew. */
  function checkBuffer(socket: LaurelSocket): void {
    if (unsentBytes(socket) <= config.REALTIME_MAX_BUFFERED_BYTES) return;
    closed.inc({ reason: 'too_slow' });
    cutOff(socket.conn);
  }

  // One timer for all: two for each would be a tenth of what a connection takes.
  const sweeper = setInterval(() => {
    for (const socket of main.sockets.values()) {
      checkBuffer(socket);
      if (socket.data.identity) attend(socket, socket.data.identity);
    }
  }, SWEEP_MS).unref();

  return {
    /** Serves Socket.IO on a server, beside what that server does already. */
    attach: (server: HttpServer): void => {
      // Before the engine, which takes its time to look at a request: a client may be gone by then.
      server.on('upgrade', (_, socket) => {
        upgraded.add(socket);
        socket.on('error', ignore);
        socket.on('close', () => upgraded.delete(socket));
      });
      io.attach(server);
      io.engine.on('connection', (connection: EngineConnection) => {
        const leave = limits.enter(limits.addressOf(connection.request));
        open += 1;
        const idle = setTimeout(() => cutOff(connection), CONNECT_MS).unref();
        let connects = 0;
        connection.on('data', (data: unknown) => {
          if (!isConnect(data)) return;
          clearTimeout(idle);
          connects += 1;
          // One connection is one socket of the one namespace. More of them would be let in past every limit.
          if (connects === 1 && isOfMainNamespace(data)) return;
          closed.inc({ reason: 'connected_twice' });
          cutOff(connection);
        });
        connection.on('close', () => {
          clearTimeout(idle);
          open -= 1;
          leave();
        });
      });
    },
    /** The users' connections over all instances, sockets and streams together. */
    book,
    /** Whether anybody at this instance is in a room. */
    inhabited: (room: string): boolean => main.adapter.rooms.has(room),
    /** Sends to rooms of this instance, once to each who is in any of them. */
    tell: (
      rooms: readonly string[],
      event: string,
      payload: unknown,
      hears?: (viewer: Viewer) => boolean,
    ): void => {
      if (!hears) {
        io.local.to([...rooms]).emit(event, payload);
        return;
      }
      const ids = new Set(rooms.flatMap((room) => [...(main.adapter.rooms.get(room) ?? [])]));
      for (const id of ids) {
        const socket = main.sockets.get(id);
        if (socket && hears(socket.data.identity)) socket.emit(event, payload);
      }
    },
    /** Puts those out of the rooms of boards who may not see them, or not any more. */
    reviewBoards: (): void => {
      for (const [room, ids] of main.adapter.rooms) {
        const board = boardOfRoom(room);
        if (!board || deps.findBoard(board, undefined)) continue;
        for (const id of [...ids]) {
          const socket = main.sockets.get(id);
          if (!socket || deps.findBoard(board, socket.data.identity)) continue;
          socket.emit('board:closed', board);
          void socket.leave(room);
        }
      }
    },
    /** Sends to all who are in a room of this instance right now. */
    deliver: (room: string, event: string, payload: unknown): Delivery =>
      frames.deliver(room, event, payload),
    /** Ends those connections of a user at this instance whose access has ended. */
    closeUser: (userId: string, code: Closed, hasEnded: (identity: Identity) => boolean): void => {
      for (const id of [...(main.adapter.rooms.get(userRoom(userId)) ?? [])]) {
        const identity = main.sockets.get(id)?.data.identity;
        if (identity && hasEnded(identity)) closeLocal(id, code);
      }
    },
    /** Has everybody leave a room of this instance. */
    clear: (room: string): void => {
      io.local.in(room).socketsLeave(room);
    },
    /** Users who are signed in at this instance. */
    get users(): Set<string> {
      return new Set([...main.sockets.values()].flatMap(({ data }) => data.identity?.userId ?? []));
    },
    close: async (): Promise<void> => {
      clearInterval(sweeper);
      book.stop();
      // Those of this instance alone: the others go on.
      io.local.disconnectSockets(true);
      const ended = new Promise<void>((resolve) => void io.close(() => resolve()));
      // It waits for every connection of the HTTP server. One that does not answer must not keep the rest from ending.
      await Promise.race([ended, delay(CLOSING_MS)]);
      for (const socket of upgraded) socket.destroy();
    },
  };
}

type EngineConnection = LaurelSocket['conn'];
interface Transport {
  readonly socket?: { readonly bufferedAmount: number; terminate(): void };
}
/** A CONNECT of the Socket.IO protocol, which names its namespace unless that is the main one. */
const isConnect = (data: unknown): data is string => typeof data === 'string' && data.startsWith('0');
const isOfMainNamespace = (connect: string): boolean => !connect.startsWith('0/') || /^0\/[,?]/.test(connect);
const ignore = (): void => undefined;
type Connection = { readonly writeBuffer?: readonly { readonly data?: { readonly length: number } }[] };

/** Forgets what the handshake said: a browser's headers and a token would be a fifth of what is kept of a connection. */
function forgetHandshake({ conn, handshake }: LaurelSocket): void {
  Object.assign(conn.request, { headers: nothing, rawHeaders: none });
  Object.assign(handshake, { headers: nothing, auth: nothing, time: '' });
}
const nothing = Object.freeze({});
const none = Object.freeze([]);

/** What has been sent to a client and has not left this process: in engine.io's queue, in ws, and in the socket. */
function unsentBytes({ conn }: LaurelSocket): number {
  const queue = (conn as unknown as Connection).writeBuffer ?? [];
  let bytes = (conn.transport as unknown as Transport).socket?.bufferedAmount ?? 0;
  for (const { data } of queue) bytes += data?.length ?? 0;
  return bytes;
}

/** Ends a connection without waiting for what it should still be sent. */
function cutOff(conn: LaurelSocket['conn']): void {
  const { socket } = conn.transport as unknown as Transport;
  conn.close(true);
  socket?.terminate();
}
