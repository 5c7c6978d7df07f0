import { Interrupted, untilDone } from '../common/patience.ts';
import { createDatabase, isTransient, type Database } from '../common/postgres.ts';
import { withoutPassword } from '../common/postgres-address.ts';
import { Failure, reasonOf } from './failure.ts';
import type { Settings } from './settings.ts';

/** How long Postgres may take to come up, milliseconds: in a fresh installation both were started just now. */
const PATIENCE_MS = 30_000;

/**
 * Opens Postgres for a piece of work, once it answers.
 *
 * @throws Failure when it does not answer in time, or refuses us
 */
export async function withDatabase<T>(
  settings: Settings<'DATABASE_URL'>,
  use: (db: Database) => Promise<T>,
): Promise<T> {
  const db = createDatabase(settings, 'cli', { max: 2 });
  try {
    await untilAnswers(db, settings.DATABASE_URL);
    return await use(db);
  } finally {
    await db.destroy();
  }
}

async function untilAnswers(db: Database, url: string): Promise<void> {
  let last: unknown;
  const isPassing = (error: unknown): boolean => {
    last = error;
    return isTransient(error);
  };
  const onWait = (error: unknown): void => {
    console.error(
      `Postgres does not answer yet (${reasonOf(error)}); waiting up to ${PATIENCE_MS / 1000} s.`,
    );
  };
  try {
    await untilDone(() => db.raw('select 1'), isPassing, AbortSignal.timeout(PATIENCE_MS), onWait);
  } catch (error) {
    const cause = reasonOf(error instanceof Interrupted ? last : error);
    throw new Failure(
      `Postgres at ${withoutPassword(url)} cannot be used: ${cause}. Check DATABASE_URL, and that the server runs.`,
      { cause: error },
    );
  }
}
