import { createServer, type RequestListener, type Server } from 'node:http';
import type { Config } from './config.ts';

/** Node's own, milliseconds. */
const HEADERS_TIMEOUT_MS = 60_000;
/** How much longer headers may take than an idle connection lasts, milliseconds. */
const MARGIN_MS = 1000;

const ignore = (): void => undefined;

/**
 * An HTTP server that no client can end. Node ends a process when an emitter without a listener emits `error`, and takes its own
 * listener off a socket when that is upgraded: so sockets and answers get one here, for their whole life. What broke is told by
 * the request's own failure.
 */
export function createHttpServer(
  handle: RequestListener,
  config: Pick<Config, 'KEEP_ALIVE_SECONDS'>,
): Server {
  const keepAliveTimeout = config.KEEP_ALIVE_SECONDS * 1000;
  const server = createServer(
    { keepAliveTimeout, headersTimeout: Math.max(HEADERS_TIMEOUT_MS, keepAliveTimeout + MARGIN_MS) },
    (request, response) => {
      response.on('error', ignore);
      handle(request, response);
    },
  );
  server.on('connection', (socket) => socket.on('error', ignore));
  return server;
}
