import { ConfigError } from './config.ts';
import { endOnUncaughtError } from './last-resort.ts';
import { createLogger } from './logger.ts';
import { Shutdown, shutDownOnSignal } from './shutdown.ts';

/** How long a tier may take to end in order, milliseconds: less than what `docker stop` and Kubernetes grant. */
const SHUTDOWN_DEADLINE_MS = 8000;

/**
 * Runs a tier as a process: starts it, ends it in order on a signal, and ends with status 1 and a readable message when it
 * cannot start.
 */
export function runTier(name: string, start: (shutdown: Shutdown) => Promise<void>): void {
  const log = createLogger(name, 'info');
  const shutdown = new Shutdown(log);
  shutDownOnSignal(shutdown, log, SHUTDOWN_DEADLINE_MS);
  endOnUncaughtError(shutdown, log, SHUTDOWN_DEADLINE_MS);
  start(shutdown).catch(async (error: unknown) => {
    if (error instanceof ConfigError) process.stderr.write(`${error.message}\n`);
    else log.fatal({ err: error }, 'could not start');
    await shutdown.run();
    process.exit(1);
  });
}
