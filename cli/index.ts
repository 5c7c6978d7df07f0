#!/usr/bin/env node
/** `laurel`: the operator's command line. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { endWhenOutputCloses } from '../common/closed-output.ts';
import { ConfigError } from '../common/config.ts';
import { Failure, reasonOf } from './failure.ts';
import { runMigrate } from './migrate.ts';
import { runReconcile } from './reconcile.ts';
import { runReplay } from './replay.ts';
import { runResetPassword } from './reset-password.ts';
import { runSeed } from './seed.ts';
import { readMigrationSettings, readSettings, type Settings } from './settings.ts';

const DONE = 0;
const FAILED = 1;
const WRONG_USE = 2;

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

const program = new Command('laurel')
  .description('Runs and looks after Laurel, the live leaderboard service.')
  .version(version)
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(text) })
  .addHelpText(
    'after',
    `
Settings come from the environment: see docs/configuration.md. Where DATABASE_URL or REDIS_URL is not set, the
stores of the \`npm start\` that runs on DATA_DIR are used.

Exit codes:
  ${DONE}  done; for reconcile also when drift was found, since its repairs are under way by then
  ${FAILED}  failed: a store is away, no worker took the job, the job failed, or replay found a difference
  ${WRONG_USE}  wrong usage, or a setting is missing or not allowed`,
  );

const withPostgres =
  <A extends unknown[]>(run: (settings: Settings<'DATABASE_URL'>, ...args: A) => Promise<void>) =>
  (...args: A): Promise<void> =>
    run(readSettings(process.env, 'DATABASE_URL'), ...args);
const withRedis =
  <A extends unknown[]>(run: (settings: Settings<'REDIS_URL'>, ...args: A) => Promise<void>) =>
  (...args: A): Promise<void> =>
    run(readSettings(process.env, 'REDIS_URL'), ...args);

program
  .command('migrate')
  .description(
    'bring the database to the newest schema; waits up to 30 s for Postgres; harmless when repeated',
  )
  .action(() => runMigrate(readMigrationSettings(process.env)));

program
  .command('seed')
  .description('make the first leaderboards and action types and, with ADMIN_PASSWORD, the administrator')
  .action(withPostgres((settings) => runSeed(settings)));

program
  .command('reset-password')
  .description('print a token with which a user chooses a new password, once, within an hour')
  .argument('<name>', 'the user name')
  .action(withPostgres((settings, name: string) => runResetPassword(settings, name)));

program
  .command('reconcile')
  .description(
    'have a worker compare every board in Redis with Postgres and repair what differs; waits for it',
  )
  .option('--json', 'print the result as one line of JSON')
  .action(withRedis((settings, options: { json?: boolean }) => runReconcile(settings, options)));

program
  .command('replay')
  .description(
    'recompute scores, periods and tie order from the ledger alone and compare them with the scores; fails when they differ',
  )
  .option('--json', 'print the result as one line of JSON')
  .action(withPostgres((settings, options: { json?: boolean }) => runReplay(settings, options)));

/** @returns the exit code */
async function main(): Promise<number> {
  try {
    await program.parseAsync(process.argv);
    return DONE;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? DONE : WRONG_USE; // it has said why
    if (error instanceof ConfigError) {
      console.error(error.message);
      return WRONG_USE;
    }
    console.error(error instanceof Failure ? error.message : `It failed: ${reasonOf(error)}`);
    return FAILED;
  }
}

endWhenOutputCloses();
process.exitCode = await main();
