import { readFileSync } from 'node:fs';
import knex, { type Knex } from 'knex';
import pg from 'pg';

/**
 * Every migration, oldest first. A name, once released, never changes. They are listed here rather than read from a
 * folder, so that sources and the compiled build, whose files end differently, bear the same names in the database.
 */
const names = ['foundation', 'completions', 'corrections'] as const;

const sql = (file: string): string => readFileSync(new URL(`sql/${file}.sql`, import.meta.url), 'utf8');

/** The migrations as knex takes them: each runs `sql/<name>.up.sql`, and `sql/<name>.down.sql` takes it back. */
export const migrationSource: Knex.MigrationSource<string> = {
  getMigrations: () => Promise.resolve([...names]),
  getMigrationName: (name) => name,
  getMigration: (name) =>
    Promise.resolve({
      up: (db) => db.raw(sql(`${name}.up`)),
      down: (db) => db.raw(sql(`${name}.down`)),
    }),
};

/** Any number that all of Laurel's migrators agree on. */
const MIGRATION_LOCK = 745_100;

/**
 * Brings a database to the newest schema. Safe to call from many processes at once: they queue up, on a lock that
 * Postgres itself releases if its holder dies. (knex's own lock is a row that a killed migrator leaves behind.)
 */
export async function migrate(databaseUrl: string): Promise<void> {
  const guard = new pg.Client({ connectionString: databaseUrl });
  await guard.connect();
  const db = knex({ client: 'pg', connection: databaseUrl, pool: { min: 0, max: 1 } });
  try {
    await guard.query('select pg_advisory_lock($1)', [MIGRATION_LOCK]);
    await db.migrate.forceFreeMigrationsLock({ migrationSource });
    await db.migrate.latest({ migrationSource });
  } finally {
    await db.destroy();
    await guard.end();
  }
}
