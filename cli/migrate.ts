import { migrate, migrationSource } from '../migrations/index.ts';
import { withMigrationPool } from '../common/postgres.ts';
import { withDatabase } from './database.ts';
import type { Settings } from './settings.ts';

/** Brings the database to the newest schema. */
export async function runMigrate(settings: Settings): Promise<void> {
  await withDatabase(settings, () => withMigrationPool(settings.DATABASE_URL, migrate));
  const newest = (await migrationSource.getMigrations([])).at(-1);
  console.log(`The schema is current, up to "${newest ?? 'nothing'}".`);
}
