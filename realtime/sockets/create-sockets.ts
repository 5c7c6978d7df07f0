import type { IncomingMessage } from 'node:http';
import Joi from 'joi';
import { createAdapter } from '@socket.io/redis-adapter';
import { Server, type Socket } from 'socket.io';
import type { Catalog } from '../../common/catalog.ts';
import type { Config } from '../../common/config.ts';
import type { CompletionEvent } from '../../common/events.ts';
import { AccessTokenError, type AccessTokens, type Identity } from '../../common/identity/access-tokens.ts';
import { userIdPattern } from '../../common/ids.ts';
import type { Logger } from '../../common/logger.ts';
import type { Metrics } from '../../common/metrics.ts';
import { periods, type Period } from '../../common/periods.ts';
import type { Redis } from '../../common/redis.ts';
import type { UserDirectory } from '../../common/users/user-directory.ts';
import { watchedId, type BoardFeeds, type Watched } from '../boards/board-feeds.ts';

/** Why a handshake or an event was refused; the codes are those of the HTTP API. */
type Code =
  | 'UNAUTHENTICATED'
  | 'USER_BANNED'
  | 'USER_NOT_FOUND'
  | 'INVALID_REQUEST'
  | 'LEADERBOARD_NOT_FOUND'
  | 'FORBIDDEN'
  | 'UNAVAILABLE';
type Answer = { ok: true; snapshot?: unknown } | { ok: false; code: Code };

interface SocketData {
  identity?: Identity;
}
type LaurelSocket = Socket<
  Record<string, (...args: unknown[]) => void>,
  Record<string, (...args: unknown[]) => void>,
  object,
  SocketData
>;

export interface SocketDeps {
  readonly config: Config;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly accessTokens: AccessTokens;
  readonly directory: UserDirectory;
  readonly catalog: Catalog;
  readonly feeds: BoardFeeds;
  /** connections for the adapter alone */
  readonly publisher: Redis;
  readonly subscriber: Redis;
}

const boardSchema = Joi.object<Watched>({
  leaderboard: Joi.string().max(64).required(),
  period: Joi.string()
    .valid(...periods)
    .default('all'),
}).required();
const userSchema = Joi.object<{ userId: string }>({
  userId: Joi.string().pattern(userIdPattern).required(),
}).required();
const handshakeSchema = Joi.object<{ token?: string }>({
  token: Joi.string().max(8192).allow(null, ''),
}).unknown();

export const boardRoom = (board: Watched): string => `board:${watchedId(board)}`;
const userRoom = (userId: string): string => `user:${userId}`;
const spectatorRoom = (userId: string): string => `spectators:${userId}`;

/** A refusal that the client library hands on as `connect_error.data.code`. */
function refusal(code: Code): Error {
  return Object.assign(new Error(code), { data: { code } });
}

/** A page's origin is named by its browser: only listed ones, and the very host that is asked, may open sockets. */
export function originAllowed(
  request: Pick<IncomingMessage, 'headers'>,
  allowed: readonly string[],
): boolean {
  const { origin, host } = request.headers;
  if (origin === undefined || allowed.includes(origin)) return true;
  try {
    return new URL(origin).host === host;
  } catch {
    return false;
  }
}

/** The Socket.IO server: handshake, rooms, and events both ways. */
export function createSockets(deps: SocketDeps) {
  const { config, log, metrics, accessTokens, directory, catalog, feeds } = deps;
  const unknownEvents = metrics.counter(
    'laurel_socket_unknown_events_total',
    'Events of unknown names, refused.',
  );
  const refusedHandshakes = metrics.counter('laurel_socket_refused_total', 'Handshakes refused, by code.', [
    'code',
  ] as const);

  const io = new Server<
    Record<string, (...args: unknown[]) => void>,
    Record<string, (...args: unknown[]) => void>,
    object,
    SocketData
  >({
    adapter: createAdapter(deps.publisher, deps.subscriber, { key: 'laurel:sockets' }),
    // Compression costs ten times the memory of the connection itself.
    perMessageDeflate: false,
    httpCompression: false,
    maxHttpBufferSize: 16_384,
    pingInterval: 25_000,
    pingTimeout: 20_000,
    connectTimeout: 10_000,
    serveClient: false,
    allowRequest: (request, done) => {
      const allowed = originAllowed(request, config.CORS_ORIGINS);
      done(allowed ? null : 'the page’s origin is not allowed', allowed);
    },
    cors: { origin: [...config.CORS_ORIGINS], credentials: false },
  });
  metrics.gauge('laurel_socket_connections', 'Open Socket.IO connections.', [], (gauge) =>
    gauge.set(io.engine.clientsCount),
  );

  async function identify(socket: LaurelSocket): Promise<Identity | undefined> {
    const { value, error } = handshakeSchema.validate(socket.handshake.auth);
    if (error) throw refusal('UNAUTHENTICATED');
    if (!value.token) {
      if (config.PUBLIC_READS) return undefined;
      throw refusal('UNAUTHENTICATED');
    }
    let identity: Identity;
    try {
      identity = await accessTokens.verify(value.token);
    } catch (cause) {
      throw cause instanceof AccessTokenError ? refusal('UNAUTHENTICATED') : refusal('UNAVAILABLE');
    }
    const profile = await directory.find(identity.userId).catch(() => {
      throw refusal('UNAVAILABLE');
    });
    if (!profile) throw refusal('USER_NOT_FOUND');
    if (profile.erased) throw refusal('UNAUTHENTICATED');
    if (profile.banned) throw refusal('USER_BANNED');
    return identity;
  }

  io.use((socket, next) => {
    identify(socket).then(
      (identity) => {
        if (identity) socket.data.identity = identity;
        next();
      },
      (error: Error & { data?: { code: string } }) => {
        refusedHandshakes.inc({ code: error.data?.code ?? 'UNAVAILABLE' });
        next(error.data ? error : refusal('UNAVAILABLE'));
      },
    );
  });

  function findBoard(socket: LaurelSocket, { leaderboard, period }: Watched): Watched | undefined {
    const known = catalog.leaderboard(leaderboard);
    const visible = known?.visibility === 'public' || socket.data.identity?.role === 'admin';
    return known?.periods.includes(period) && visible ? { leaderboard, period } : undefined;
  }

  /** What a client can ask for, by event: how its payload must look, and what is done. */
  const requests: Record<
    string,
    { schema: Joi.Schema; handle: (socket: LaurelSocket, payload: never) => Promise<Answer> | Answer }
  > = {
    'join:leaderboard': {
      schema: boardSchema,
      handle: async (socket, payload: Watched) => {
        const board = findBoard(socket, payload);
        if (!board) return { ok: false, code: 'LEADERBOARD_NOT_FOUND' };
        return feeds.of(board).snapshot((snapshot) => {
          void socket.join(boardRoom(board));
          return { ok: true, snapshot };
        });
      },
    },
    'leave:leaderboard': {
      schema: boardSchema,
      handle: (socket, payload: Watched) => {
        void socket.leave(boardRoom(payload));
        return { ok: true };
      },
    },
    'spectate:user': {
      schema: userSchema,
      handle: async (socket, { userId }: { userId: string }) => {
        const profile = await directory.find(userId);
        if (!profile || profile.erased) return { ok: false, code: 'USER_NOT_FOUND' };
        if (!profile.allowSpectators) return { ok: false, code: 'FORBIDDEN' };
        void socket.join(spectatorRoom(userId));
        return { ok: true };
      },
    },
    'unspectate:user': {
      schema: userSchema,
      handle: (socket, { userId }: { userId: string }) => {
        void socket.leave(spectatorRoom(userId));
        return { ok: true };
      },
    },
  };

  async function answer(socket: LaurelSocket, event: string, payload: unknown): Promise<Answer> {
    const request = Object.hasOwn(requests, event) ? requests[event] : undefined;
    if (!request) {
      unknownEvents.inc();
      return { ok: false, code: 'INVALID_REQUEST' };
    }
    const { value, error } = request.schema.validate(payload, { convert: false }) as unknown as {
      value: never;
      error?: Error;
    };
    if (error) return { ok: false, code: 'INVALID_REQUEST' };
    try {
      return await request.handle(socket, value);
    } catch (cause) {
      log.warn({ err: cause, event }, 'a socket request failed');
      return { ok: false, code: 'UNAVAILABLE' };
    }
  }

  io.on('connection', (socket) => {
    const { identity } = socket.data;
    if (identity) {
      void socket.join(userRoom(identity.userId));
      const expire = setTimeout(
        () => socket.disconnect(true),
        Math.min(identity.expiresAt - Date.now(), 2_147_483_647),
      );
      socket.on('disconnect', () => clearTimeout(expire));
    }
    socket.onAny((event: string, ...args: unknown[]) => {
      const acknowledge =
        typeof args.at(-1) === 'function' ? (args.pop() as (answer: Answer) => void) : undefined;
      void answer(socket, event, args[0]).then((reply) => acknowledge?.(reply));
    });
  });

  // The last one out ends the feed.
  io.of('/').adapter.on('delete-room', (room: string) => {
    const [kind, leaderboard, period] = room.split(':');
    if (kind === 'board' && leaderboard !== undefined) feeds.drop({ leaderboard, period: period as Period });
  });

  return {
    io,
    /** Tells a user, and those who watch the user, of a completion. */
    announceCompletion(
      { userId, leaderboard, score, rank, completedAt }: CompletionEvent,
      username: string,
    ): void {
      io.local.to([userRoom(userId), spectatorRoom(userId)]).emit('score:update', {
        type: 'SCORE_CHANGED',
        userId,
        username,
        leaderboard,
        score: score.current,
        delta: score.delta,
        oldRank: rank.previous,
        newRank: rank.current,
        timestamp: completedAt,
      });
    },
    /** Whether anybody here listens to a user. */
    hasListeners: (userId: string): boolean =>
      io.of('/').adapter.rooms.has(userRoom(userId)) || io.of('/').adapter.rooms.has(spectatorRoom(userId)),
    /** Closes a user's connections at this instance. */
    disconnectUser: (userId: string): void => {
      io.local.in(userRoom(userId)).disconnectSockets(true);
    },
  };
}
