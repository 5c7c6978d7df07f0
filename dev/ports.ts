import { createServer } from 'node:net';

/**
 * Below the range from which Linux (32768 up) and macOS (49152 up) take the ports of outgoing connections.
 * A server whose port lies in that range may find it taken when it restarts, all the more so beside a load
 * generator with 10,000 connections; and a client that polls such a port can end up connected to itself.
 */
const lowest = 20_000;
const highest = 32_000;

/** @returns `preferred` if nothing listens there on the loopback interface, else another free port */
export async function freePort(preferred?: number): Promise<number> {
  if (preferred !== undefined && (await bind(preferred)) !== undefined) return preferred;
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const port = await bind(lowest + Math.floor(Math.random() * (highest - lowest)));
    if (port !== undefined) return port;
  }
  const chosenBySystem = await bind(0);
  if (chosenBySystem === undefined) throw new Error('There is no free port on 127.0.0.1.');
  return chosenBySystem;
}

function bind(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' ? address?.port : undefined));
    });
  });
}
