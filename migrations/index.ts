import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import type { Knex } from 'knex';
import { grantRights } from './grants.ts';

const folder = new URL('./', import.meta.url);
const read = (file: string): string => readFileSync(new URL(file, folder), 'utf8');
const filesIn = (path: string, suffix: string): string[] =>
  readdirSync(new URL(path, folder))
    .filter((file) => file.endsWith(suffix))
    .sort();

/** Every migration, oldest first: tables and indexes only. A released one never changes; add the next number. */
const names: readonly string[] = filesIn('./', '.up.sql').map((file) => file.slice(0, -'.up.sql'.length));

/** The migrations as knex takes them: each runs `<name>.up.sql`, and `<name>.down.sql` takes it back. */
export const migrationSource: Knex.MigrationSource<string> = {
  getMigrations: () => Promise.resolve([...names]),
  getMigrationName: (name) => name,
  getMigration: (name) =>
    Promise.resolve({
      // Rather fail than hold up play: those who need the table queue up behind a migration that waits for it.
      up: (db) => db.raw(`set local lock_timeout = '10s';\n${read(`${name}.up.sql`)}`),
      // Functions are of the newest version, whatever is taken back: migrate makes those again that its version has.
      down: async (db) => {
        await db.raw(dropFunctions());
        await db.raw(read(`${name}.down.sql`));
      },
    }),
};

const functionNames = filesIn('functions/', '.sql').map((file) => file.slice(0, -'.sql'.length));

/** Drops the functions of `functions/`, but for those of triggers, which go with their migrations. */
const dropFunctions = (): string => `
  do $$ declare ours regprocedure; begin
    for ours in
      select p.oid from pg_proc p where pronamespace = current_schema()::regnamespace and proname in ('${functionNames.join("', '")}')
        and not exists (select from pg_trigger t where t.tgfoid = p.oid)
    loop execute 'drop function ' || ours; end loop;
  end $$`;

/** Any number that all of Laurel's migrators agree on. */
const MIGRATION_LOCK = 745_100;

/**
 * Brings a database to the newest schema: first the migrations that it lacks, then the functions in `functions/`, all of them
 * again whenever one has changed. Safe to call from many processes at once: they queue up, on a lock that Postgres itself
 * releases if its holder dies. (knex's own lock is a row that a killed migrator leaves behind.)
 *
 * At last the rights, every time, so that they hold for whatever has been made.
 *
 * @param db of two connections at least, one of which holds the lock, and without a limit of a statement's time
 * @param appRole the role under which the tiers run, if it is another than the one of `db`; see grants.ts
 */
export async function migrate(db: Knex, appRole?: string): Promise<void> {
  // Of a transaction, not of a session: behind a transaction pooler a session is anybody's.
  await db.transaction(async (guard) => {
    await guard.raw('set local idle_in_transaction_session_timeout = 0');
    await guard.raw('select pg_advisory_xact_lock(?)', [MIGRATION_LOCK]);
    await adoptUnnumbered(db);
    await db.migrate.forceFreeMigrationsLock({ migrationSource });
    const [, made] = (await db.migrate.latest({ migrationSource })) as [number, string[]];
    // A migration that was taken back has taken functions with it.
    await replaceFunctions(db, made.length > 0);
    await db.transaction((trx) => grantRights(trx, ourFunctions(), appRole));
  });
}

/** Names of the functions of this version: each in a file of its name, but for those of triggers, which migrations made. */
const ourFunctions = (): string[] => [
  ...functionNames,
  'stamp_user_change',
  'note_user_change',
  'forget_subject',
  'end_sessions',
];

/** Before migrations had numbers there were three, and two of them made functions only. */
async function adoptUnnumbered(db: Knex): Promise<void> {
  if (!(await db.schema.hasTable('knex_migrations'))) return;
  await db('knex_migrations').where({ name: 'foundation' }).update({ name: '0001_foundation' });
  await db('knex_migrations').whereIn('name', ['completions', 'corrections']).delete();
}

/**
 * Defines the functions of `functions/` as this version has them. A file is one function, written `create or replace`; where its
 * arguments or its result change, the file drops the old form first.
 */
async function replaceFunctions(db: Knex, always: boolean): Promise<void> {
  const files = filesIn('functions/', '.sql').map((file) => read(`functions/${file}`));
  const hash = createHash('sha256').update(files.join('\n')).digest('hex');
  await db.transaction(async (trx) => {
    await trx.raw(
      'create table if not exists function_set (hash text not null, applied_at timestamptz not null)',
    );
    const [applied] = await trx<{ hash: string }>('function_set').select('hash');
    if (!always && applied?.hash === hash) return;
    // Those that run as their owner keep this path (`from current`), so that whoever calls them cannot lead them elsewhere.
    const { rows } = await trx.raw<{ rows: { path: string }[] }>(
      "select quote_ident(current_schema()) || ', pg_temp' as path",
    );
    await trx.raw(`set local search_path to ${rows[0]?.path ?? 'public, pg_temp'}`);
    // They call each other, and are checked when they are called.
    await trx.raw('set local check_function_bodies = off');
    for (const file of files) await trx.raw(file);
    await trx('function_set').delete();
    await trx('function_set').insert({ hash, applied_at: new Date() });
  });
}
