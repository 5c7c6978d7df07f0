import Joi from 'joi';
import type { Viewer } from '../../common/board/visibility.ts';
import { userIdPattern } from '../../common/ids.ts';
import type { Logger } from '../../common/logger.ts';
import type { Metrics } from '../../common/metrics.ts';
import { periods } from '../../common/periods.ts';
import type { UserDirectory } from '../../common/users/user-directory.ts';
import type { BoardFeeds, Watched } from '../boards/board-feeds.ts';
import type { RefusalCode } from '../connections/refusal.ts';
import { boardRoom, spectatorRoom } from './rooms.ts';
import type { LaurelSocket } from './types.ts';

export type Answer = { ok: true; snapshot?: unknown } | { ok: false; code: RefusalCode };

export interface RequestDeps {
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly directory: UserDirectory;
  readonly feeds: BoardFeeds;
  /** the board, if there is such a one and the viewer may see it */
  readonly findBoard: (board: Watched, viewer: Viewer) => Watched | undefined;
  /** has a socket hear the board's frames that are made from here on */
  readonly enter: (socket: LaurelSocket, board: Watched) => void;
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
/** Users whom one connection may follow. */
const MOST_SPECTATED = 100;

/** What clients can ask for, by event: how the payload must look, and what is done. */
export function createRequests({ log, metrics, directory, feeds, findBoard, enter }: RequestDeps) {
  const unknownEvents = metrics.counter(
    'laurel_socket_unknown_events_total',
    'Events of unknown names, refused.',
  );

  const requests: Record<
    string,
    { schema: Joi.Schema; handle: (socket: LaurelSocket, payload: never) => Promise<Answer> | Answer }
  > = {
    'join:leaderboard': {
      schema: boardSchema,
      handle: async (socket, payload: Watched) => {
        const board = findBoard(payload, socket.data.identity);
        if (!board) return { ok: false, code: 'LEADERBOARD_NOT_FOUND' };
        try {
          return await feeds.of(board).snapshot((snapshot) => {
            // It was put away while it was read.
            if (!findBoard(board, socket.data.identity)) return { ok: false, code: 'LEADERBOARD_NOT_FOUND' };
            // A socket that has closed meanwhile would stay in the room for ever.
            if (socket.connected) enter(socket, board);
            return { ok: true, snapshot };
          });
        } finally {
          feeds.release(board);
        }
      },
    },
    'leave:leaderboard': {
      schema: boardSchema,
      handle: (socket, payload: Watched) => {
        if (!socket.rooms.has(boardRoom(payload)) && !findBoard(payload, socket.data.identity))
          return { ok: false, code: 'LEADERBOARD_NOT_FOUND' };
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
        const followed = [...socket.rooms].filter((room) => room.startsWith(spectatorRoom('')));
        if (followed.length >= MOST_SPECTATED) return { ok: false, code: 'RATE_LIMITED' };
        if (socket.connected) void socket.join(spectatorRoom(userId));
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

  return {
    async answer(socket: LaurelSocket, event: string, payload: unknown): Promise<Answer> {
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
    },
  };
}
