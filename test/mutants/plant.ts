import { execFileSync, spawn } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  chmodSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sharedUrl } from '../support/postgres.ts';
import type { Mutant } from './mutant.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** After this a run is ended: a fault that makes a test wait for ever has been noticed. */
const RUN_MS = 300_000;

/** Which tests run. */
export type Tests = Pick<Mutant, 'tests' | 'grep'>;

/** How a run of test files ended. */
export interface TestRun {
  readonly passed: boolean;
  /** the last lines of its output */
  readonly output: string;
}

/** A copy of the project in which faults are planted, one at a time. The checkout itself is never touched. */
export class Field {
  readonly #folder: string;

  constructor() {
    this.#folder = mkdtempSync(join(tmpdir(), 'laurel-mutants-'));
    chmodSync(this.#folder, 0o755); // the embedded Postgres runs as another user
    const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], {
      cwd: root,
      encoding: 'utf8',
    });
    for (const file of files.split('\0').filter((name) => name !== '')) {
      mkdirSync(dirname(join(this.#folder, file)), { recursive: true });
      cpSync(join(root, file), join(this.#folder, file), { force: true });
    }
    symlinkSync(join(root, 'node_modules'), join(this.#folder, 'node_modules'));
  }

  /** Runs tests with the code as it is, up to the first failure. @param ownPostgres migrated by this code */
  run({ tests, grep }: Tests, ownPostgres = false): Promise<TestRun> {
    return new Promise((resolve, reject) => {
      const only = grep === undefined ? [] : ['--fgrep', grep];
      const mocha = spawn(
        process.execPath,
        ['node_modules/mocha/bin/mocha.js', '--bail', ...only, ...tests],
        {
          cwd: this.#folder,
          env: { ...process.env, ...(ownPostgres && { [sharedUrl]: undefined }) },
          stdio: ['ignore', 'pipe', 'pipe'],
          detached: true,
        },
      );
      let output = '';
      const keep = (chunk: Buffer): void => {
        output = (output + chunk.toString()).slice(-4000);
      };
      mocha.stdout.on('data', keep);
      mocha.stderr.on('data', keep);
      const timer = setTimeout(() => {
        output += '\n(the run was ended: it took too long)';
        if (mocha.pid !== undefined) process.kill(-mocha.pid, 'SIGKILL');
      }, RUN_MS);
      mocha.once('close', (code) => {
        clearTimeout(timer);
        if (/^ *0 passing/m.test(output) && code === 0)
          reject(new Error(`no test of ${tests.join(', ')} is called “${grep ?? ''}”`));
        else resolve({ passed: code === 0, output });
      });
    });
  }

  /** Runs a mutant's tests with its fault in place. @throws when the text is not there, or more than once */
  async runWith(mutant: Mutant): Promise<TestRun> {
    const { file, search, replace } = mutant;
    const path = join(this.#folder, file);
    const source = readFileSync(path, 'utf8');
    const times = source.split(search).length - 1;
    if (times !== 1) throw new Error(`${file} has the text ${times} times, not once: ${search}`);
    writeFileSync(
      path,
      source.replace(search, () => replace),
    );
    try {
      return await this.run(mutant, file.startsWith('migrations/'));
    } finally {
      writeFileSync(path, source);
    }
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
