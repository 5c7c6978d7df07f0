import type { Logger } from './logger.ts';
import type { Shutdown } from './shutdown.ts';

let uncaught = 0;

/** How many errors of this process nobody has caught: above 0 while it ends because of one. */
export const uncaughtErrors = (): number => uncaught;

/**
 * The last resort for an error that nobody has caught. What state it left is not known, so the process ends, but in order: it logs,
 * counts, finishes what it can within the deadline, and exits with status 1, so that its supervisor starts another.
 *
 * @param deadlineMs how long the orderly way may take, milliseconds
 */
export function endOnUncaughtError(shutdown: Shutdown, log: Logger, deadlineMs: number): void {
  const end =
    (kind: string) =>
    (error: unknown): void => {
      uncaught += 1;
      log.fatal({ err: error, kind }, 'an error was not caught anywhere: this process ends');
      if (uncaught > 1) return;
      setTimeout(() => process.exit(1), deadlineMs).unref();
      void shutdown.run().then(() => process.exit(1));
    };
  process.on('uncaughtException', end('uncaughtException'));
  process.on('unhandledRejection', end('unhandledRejection'));
}
