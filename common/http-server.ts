import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { Config } from './config.ts';

/** Node's own, milliseconds. */
const HEADERS_TIMEOUT_MS = 60_000;
/** How much longer headers may take than an idle connection lasts, milliseconds. */
const MARGIN_MS = 1000;
/**
 * How long a connection may stand still while something is sent or waited for, milliseconds. Node's own is for ever: a client that
 * takes no more of its answer would keep it, and its descriptor. Longer than a completion waits, and than streams are silent.
 */
const STALLED_MS = 120_000;

const ignore = (): void => undefined;

/**
 * An HTTP server that no client can end. Node ends a process when an emitter without a listener emits `error`, and takes its own
 * listener off a socket when that is upgraded: so sockets and answers get one here, for their whole life. What broke is told by
 * the request's own failure.
 *
 * @param stalledMs a connection that neither takes nor sends anything is cut after this, milliseconds
 */
export function createHttpServer(
  handle: RequestListener,
  config: Pick<Config, 'KEEP_ALIVE_SECONDS'>,
  stalledMs = STALLED_MS,
): Server {
  const keepAliveTimeout = config.KEEP_ALIVE_SECONDS * 1000;
  const server = createServer(
    { keepAliveTimeout, headersTimeout: Math.max(HEADERS_TIMEOUT_MS, keepAliveTimeout + MARGIN_MS) },
    (request, response) => {
      response.on('error', ignore);
      closeWithConnection(request, response);
      handle(request, response);
    },
  );
  server.timeout = stalledMs;
  server.on('connection', (socket) => socket.on('error', ignore));
  return server;
}

/**
 * Has an answer emit `close` when its connection does. Node tells only the one that is being sent: those to requests that were
 * sent behind it on the same connection (pipelined) would be counted as open for ever.
 */
function closeWithConnection({ socket }: IncomingMessage, response: ServerResponse): void {
  // It has the connection: Node tells it.
  if (response.socket) return;
  const close = (): void => {
    if (response.socket || response.closed) return;
    response.destroy();
    response.emit('close');
  };
  // A client may send any number behind each other.
  socket.setMaxListeners(0);
  socket.once('close', close);
  response.once('close', () => socket.off('close', close));
}
