import type { Mutant } from '../mutant.ts';

/** Faults in the command line. */
export const cli: readonly Mutant[] = [
  {
    file: 'cli/index.ts',
    search: 'return FAILED;\n',
    replace: 'return DONE;\n',
    breaks: 'a failed command ends with 0',
    tests: ['cli/cli.test.ts'],
  },
  {
    file: 'cli/index.ts',
    search: 'return error.exitCode === 0 ? DONE : WRONG_USE;',
    replace: 'return DONE;',
    breaks: 'an unknown command ends with 0',
    tests: ['cli/cli.test.ts'],
  },
  {
    file: 'cli/reconcile.ts',
    search: 'console.log(row([boards, compared, drifted]));',
    replace: 'console.log(row([boards, drifted, drifted]));',
    breaks: 'reconcile prints drifted as compared',
    tests: ['cli/cli.test.ts'],
    grep: 'reconciles',
  },
  {
    file: 'cli/reconcile.ts',
    search: 'drifted === 0\n',
    replace: 'drifted !== 0\n',
    breaks: 'reconcile says that Redis agrees when it does not',
    tests: ['cli/cli.test.ts'],
    grep: 'reconciles',
  },
  {
    file: 'cli/settings.ts',
    search: 'config.DATABASE_URL ?? running?.databaseUrl',
    replace: 'config.DATABASE_URL',
    breaks: 'the stores of npm start are not found',
    tests: ['cli/cli.test.ts'],
  },
  {
    file: 'cli/replay.ts',
    search: 'if (found.different > 0) {',
    replace: 'if (false as boolean) {',
    breaks: 'a replay that finds differences ends with 0',
    tests: ['cli/cli.test.ts'],
    grep: 'replays',
  },
  {
    file: 'cli/seed.ts',
    search: 'if (!(error instanceof NameBelongsToAnother)) throw error;',
    replace: 'throw error;',
    breaks: 'seeding does not say whose the name is',
    tests: ['cli/cli.test.ts'],
  },
  {
    file: 'cli/reconcile.ts',
    search: '${withoutPassword(settings.REDIS_URL)}',
    replace: '${settings.REDIS_URL}',
    breaks: 'the password of a Redis that is away is printed',
    tests: ['cli/cli.test.ts'],
    grep: 'names no password',
  },
];
