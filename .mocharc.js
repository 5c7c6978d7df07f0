import { availableParallelism } from 'node:os';

/**
 * mocha adds `spec` to the files named on the command line, and then `mocha common/config.test.ts` would run
 * everything; so it is only set when no file is named.
 */
const namesFiles = process.argv.slice(2).some((argument) => argument.endsWith('.test.ts'));

const everyTest = [
  '{api,workers,realtime,common,client,cli,dev,bench,migrations,web}/**/*.test.ts',
  'test/**/*.test.ts',
];

export default {
  import: 'tsx',
  require: ['./test/support/setup.ts'],
  timeout: 20_000,
  ...(namesFiles
    ? {}
    : // Each file has stores of its own, so files may run side by side; they wait more than they compute.
      { spec: everyTest, parallel: true, jobs: Math.max(2, Math.floor(availableParallelism() / 2)) }),
};
