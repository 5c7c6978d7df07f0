import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect } from 'chai';

const run = promisify(execFile);

/** A program that fails in some way, with the last resort in place. */
async function ends(failure: string): Promise<{ code: unknown; output: string }> {
  const program = `
    import { createLogger } from './common/logger.ts';
    import { endOnUncaughtError, uncaughtErrors } from './common/last-resort.ts';
    import { Shutdown } from './common/shutdown.ts';
    const log = createLogger('test', 'info');
    const shutdown = new Shutdown(log);
    shutdown.defer('stores', async () => log.info({ uncaught: uncaughtErrors() }, 'stores are closed'));
    endOnUncaughtError(shutdown, log, 5000);
    setInterval(() => undefined, 1000);
    ${failure}`;
  const args = ['--import', 'tsx', '--input-type=module', '--eval', program];
  return run(process.execPath, args, { timeout: 15_000 }).then(
    ({ stdout }) => ({ code: 0, output: stdout }),
    (error: { code: unknown; stdout: string }) => ({ code: error.code, output: error.stdout }),
  );
}

describe('an error that nobody catches', function () {
  this.timeout(40_000);

  for (const [name, failure, kind] of [
    ['in a callback', `setTimeout(() => { throw new Error('lost'); }, 1);`, 'uncaughtException'],
    ['in a promise', `void Promise.reject(new Error('lost'));`, 'unhandledRejection'],
  ] as const)
    it(`${name} ends the process in order, with status 1, a line and a count`, async () => {
      const { code, output } = await ends(failure);
      expect(code, output).to.equal(1);
      expect(output).to.include(`"kind":"${kind}"`).and.include('lost');
      expect(output).to.include('"uncaught":1').and.include('stores are closed');
    });
});
