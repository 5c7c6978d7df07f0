import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { ConfigError, type Config } from './config.ts';
import { createHttpServer } from './http-server.ts';
import type { Metrics } from './metrics.ts';

/** Whether a part that a tier needs is there. Rejects, or answers false or a text that says what is wrong, when it is not. */
export type Check = () => Promise<boolean | string> | boolean | string;

/** The routes that every tier answers to its operators: is it alive, can it serve, and its figures. */
export interface Health {
  /** What `/metrics` shows. */
  readonly registry: Metrics['registry'];
  /** @returns false when the path is none of them */
  handle(request: IncomingMessage, response: ServerResponse): boolean;
}

const CHECK_TIMEOUT_MS = 2000;

/** @returns whether it passed, or why it did not */
async function passes(check: Check): Promise<boolean | string> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>(
    (resolve) => (timer = setTimeout(() => resolve(false), CHECK_TIMEOUT_MS)),
  );
  try {
    return await Promise.race([check(), late]);
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
}

/** @param warnings what an operator should know of a tier that can serve all the same */
export function createHealth(
  metrics: Metrics,
  checks: Readonly<Record<string, Check>>,
  warnings: () => readonly string[] = () => [],
): Health {
  const json = (response: ServerResponse, status: number, body: unknown): void => {
    response
      .writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
      .end(JSON.stringify(body));
  };
  const ready = async (response: ServerResponse): Promise<void> => {
    const results = await Promise.all(
      Object.entries(checks).map(async ([name, check]) => [name, await passes(check)] as const),
    );
    const ok = results.every(([, passed]) => passed === true);
    const reasons = results.filter(([, passed]) => typeof passed === 'string');
    const warned = warnings();
    json(response, ok ? 200 : 503, {
      status: ok ? 'ready' : 'not ready',
      checks: Object.fromEntries(results.map(([name, passed]) => [name, passed === true])),
      ...(reasons.length > 0 && { reasons: Object.fromEntries(reasons) }),
      ...(warned.length > 0 && { warnings: warned }),
    });
  };
  return {
    registry: metrics.registry,
    handle(request, response) {
      const path = request.url?.split('?')[0];
      if (path === '/healthz') json(response, 200, { status: 'alive' });
      else if (path === '/readyz') void ready(response);
      else if (path === '/metrics') {
        void metrics.registry.metrics().then(
          (text) => response.writeHead(200, { 'content-type': metrics.registry.contentType }).end(text),
          () => response.writeHead(500).end(),
        );
      } else return false;
      return true;
    },
  };
}

/** A server that answers these routes and nothing else, for a tier without another. */
export function createHealthServer(health: Health, config: Pick<Config, 'KEEP_ALIVE_SECONDS'>): Server {
  return createHttpServer((request, response) => {
    if (!health.handle(request, response)) response.writeHead(404).end();
  }, config);
}

/** Starts listening. @returns the port, which the system chose if it was 0 @throws {@link ConfigError} with what to do */
export function listen(server: Server, port: number, host: string, variable: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const reason =
        error.code === 'EADDRINUSE'
          ? `Port ${port} is in use. Stop what uses it, or choose`
          : `Laurel cannot listen on ${host}, port ${port} (${error.code ?? error.message}). Check HOST, or choose`;
      reject(new ConfigError(`${reason} another with ${variable}=<port> (0 takes a free one).`));
    });
    // The kernel's own default queues 128 connections: too few when thousands of clients come back at once.
    server.listen({ port, host, backlog: 4096 }, () => {
      const address = server.address();
      resolve(typeof address === 'object' && address ? address.port : port);
    });
  });
}

/** Stops accepting, ends idle connections, lets those in use finish for a while, and then cuts them, milliseconds. */
export function closeServer(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), graceMs);
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
    server.closeIdleConnections();
  });
}
