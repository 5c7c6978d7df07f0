import { ensureUser, NameBelongsToAnother, seedCatalog } from '../common/seed.ts';
import { withDatabase } from './database.ts';
import { Failure, reasonOf } from './failure.ts';
import type { Settings } from './settings.ts';

/** SQLSTATE of a table that is not there. */
const UNDEFINED_TABLE = '42P01';

/** The leaderboards and action types to begin with and, where a password is given, the administrator. */
export async function runSeed(settings: Settings<'DATABASE_URL'>): Promise<void> {
  const { ADMIN_USERNAME, ADMIN_PASSWORD } = settings;
  await withDatabase(settings, async (db) => {
    try {
      await seedCatalog(db);
    } catch (error) {
      if ((error as { code?: unknown }).code !== UNDEFINED_TABLE) throw error;
      throw new Failure(`The schema is missing (${reasonOf(error)}). Run \`laurel migrate\` first.`, {
        cause: error,
      });
    }
    console.log('The first leaderboards and action types are there.');
    if (ADMIN_PASSWORD === undefined) {
      console.log('No administrator was made: set ADMIN_PASSWORD to have one.');
      return;
    }
    try {
      await ensureUser(db, ADMIN_USERNAME, ADMIN_PASSWORD, 'admin');
    } catch (error) {
      if (!(error instanceof NameBelongsToAnother)) throw error;
      throw new Failure(`No administrator was made. ${error.message} (ADMIN_USERNAME)`, { cause: error });
    }
    console.log(`The administrator ${ADMIN_USERNAME} has the password of ADMIN_PASSWORD.`);
  });
}
