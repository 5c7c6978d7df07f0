import type { Server, Socket } from 'socket.io';
import type { Identity } from '../../common/identity/access-tokens.ts';

/** What is known of a connection; anonymous watchers have no identity. */
export interface SocketData {
  identity?: Identity;
  /** whether it was told that its token ends soon */
  warned?: boolean;
}
export type Events = Record<string, (...args: unknown[]) => void>;
export type LaurelSocket = Socket<Events, Events, Events, SocketData>;
export type LaurelServer = Server<Events, Events, Events, SocketData>;
