import { migrate, migrationSource } from '../migrations/index.ts';
import { withMigrationPool } from '../common/postgres.ts';
import { withDatabase } from './database.ts';
import type { Settings } from './settings.ts';

/** Brings the database to the newest schema, and gives the tiers' role its rights. */
export async function runMigrate(settings: Settings<'DATABASE_URL'>): Promise<void> {
  const { DATABASE_URL, DATABASE_APP_ROLE } = settings;
  await withDatabase(settings, () => withMigrationPool(DATABASE_URL, (db) => migrate(db, DATABASE_APP_ROLE)));
  const newest = (await migrationSource.getMigrations([])).at(-1);
  console.log(`The schema is current, up to "${newest ?? 'nothing'}".`);
  if (DATABASE_APP_ROLE !== undefined) console.log(`The role ${DATABASE_APP_ROLE} has the tiers' rights.`);
}
