import { createServer, type RequestListener, type Server } from 'node:http';
import type { Socket } from 'node:net';
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

/** Requests that may wait for those before them on their connection; browsers and proxies send none. */
const MOST_WAITING = 20;

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
  const handleInTurn = oneByOne(handle);
  const keepAliveTimeout = config.KEEP_ALIVE_SECONDS * 1000;
  const server = createServer(
    { keepAliveTimeout, headersTimeout: Math.max(HEADERS_TIMEOUT_MS, keepAliveTimeout + MARGIN_MS) },
    (request, response) => {
      response.on('error', ignore);
      handleInTurn(request, response);
    },
  );
  server.timeout = stalledMs;
  server.on('connection', (socket) => socket.on('error', ignore));
  return server;
}

/**
 * Has requests that are sent behind each other on one connection (pipelined) handled one after the other. Node hands all of them on
 * at once: each would open files and take places while it waits, and Node does not tell when the connection ends meanwhile.
 */
function oneByOne(handle: RequestListener): RequestListener {
  const waiting = new WeakMap<Socket, number>();
  return (request, response) => {
    const { socket } = request;
    if (response.socket) return handle(request, response);
    const before = waiting.get(socket) ?? 0;
    if (before === MOST_WAITING) return socket.destroy();
    waiting.set(socket, before + 1);
    // Its turn has come.
    response.once('socket', () => {
      waiting.set(socket, (waiting.get(socket) ?? 1) - 1);
      handle(request, response);
    });
  };
}
