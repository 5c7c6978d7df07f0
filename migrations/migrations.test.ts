import { expect } from 'chai';
import knex from 'knex';
import { createDatabase } from '../common/postgres.ts';
import { signedJob } from '../test/support/jobs.ts';
import { useStores } from '../test/support/stores.ts';
import { seed } from '../test/support/system.ts';
import { Ledger } from '../workers/completions/ledger.ts';
import { migrate, migrationSource } from './index.ts';

describe('migrations', function () {
  this.timeout(120_000);
  const stores = useStores();

  /** What an installation has: tables, columns, indexes, checks, triggers and functions. */
  async function shape(): Promise<string[]> {
    const db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 1 }, 'test');
    try {
      const { rows } = await db.raw<{ rows: { thing: string }[] }>(
        `select 'column ' || table_name || '.' || column_name || ' ' || data_type as thing from information_schema.columns where table_schema = 'public'
         union all select 'index ' || indexdef from pg_indexes where schemaname = 'public'
         union all select 'constraint ' || conrelid::regclass || ' ' || pg_get_constraintdef(oid) from pg_constraint where connamespace = 'public'::regnamespace
         union all select 'trigger ' || pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
         union all select 'function ' || pg_get_functiondef(oid) from pg_proc where pronamespace = 'public'::regnamespace
         order by 1`,
      );
      return rows.map(({ thing }) => thing).filter((thing) => !/knex_|function_set/.test(thing));
    } finally {
      await db.destroy();
    }
  }

  async function playOnce(userId: string): Promise<void> {
    await seed(stores.databaseUrl);
    const db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 1 }, 'test');
    try {
      await db('users').insert({ id: userId, username: userId, username_key: userId });
      const { items } = await new Ledger(db).apply([signedJob(userId, `action-of-${userId}`)]);
      expect(items[0]).to.include({ outcome: 'completed', previous: 0, current: 10 });
    } finally {
      await db.destroy();
    }
  }

  it('can each be taken back and made again, with data in the tables', async () => {
    const whole = await shape();
    await playOnce('before');
    const names = await migrationSource.getMigrations([]);
    for (let steps = 1; steps <= names.length; steps += 1) {
      const db = knex({ client: 'pg', connection: stores.databaseUrl, pool: { min: 0, max: 2 } });
      try {
        for (let step = 0; step < steps; step += 1) await db.migrate.down({ migrationSource });
        if (steps === names.length) expect(await shape()).to.deep.equal([]);
        await migrate(db);
        // What was earned before the daily sums came is in them, and what came after is added later.
        if (names.at(-steps) === '0007_privacy') {
          const known = await db('daily_gains').where({ user_id: 'before' }).orderBy('leaderboard');
          expect(known.map(({ leaderboard, gain }) => [leaderboard, Number(gain)])).to.deep.equal([
            ['game1', 10],
            ['global', 10],
          ]);
        }
      } finally {
        await db.destroy();
      }
      const again = await shape();
      expect(whole.filter((thing) => !again.includes(thing))).to.deep.equal([]);
      expect(again).to.deep.equal(whole);
      await playOnce(`after-${steps}`);
    }
  });
});
