import { getActiveResourcesInfo } from 'node:process';
import type { Runner } from 'mocha';
import { sharePostgres, stopSharedPostgres } from './postgres.ts';
import { removeRunFolder, shareRunFolder } from './run-folder.ts';
import { anyLeak } from './stores.ts';

/** How long the process may take to end by itself after the last test. */
const patienceMs = 2_000;

/** What the types of mocha do not name yet. */
type ParallelRunner = Runner & { isParallelMode(): boolean };

export async function mochaGlobalSetup(this: ParallelRunner): Promise<void> {
  // By default these two end the process without its `exit` handlers, and the servers would live on.
  // (mocha itself handles Ctrl-C, and still runs the teardown.)
  process.once('SIGTERM', () => process.exit(143));
  process.once('SIGHUP', () => process.exit(129));
  // In parallel, this process runs no tests: it owns what the processes that do share.
  if (!this.isParallelMode()) return;
  await shareRunFolder();
  await sharePostgres();
}

export async function mochaGlobalTeardown(): Promise<void> {
  // What was leaked breaks now, and its error has no other place to go. The leak has been reported as such;
  // mocha's own handler would end the process here, before anything is removed.
  if (anyLeak()) {
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', () => undefined);
  }
  await stopSharedPostgres();
  await removeRunFolder();
  failIfProcessLingers();
}

/** A server, worker or timer that is left open would keep mocha waiting for ever: better fail, and name it. */
function failIfProcessLingers(): void {
  setTimeout(() => {
    // There is no reporter left to tell.
    process.stderr.write(
      `The tests leave these open, so the process does not end: ${getActiveResourcesInfo().join(', ')}\n`,
    );
    // Registered after mocha's own handler, which sets the code from the number of failed tests.
    process.on('exit', () => {
      process.exitCode ||= 1;
    });
    process.exit();
  }, patienceMs).unref(); // it does not keep the process alive, and fires only if something else does
}
