import { expect } from 'chai';
import { after, before } from 'mocha';
import { Queues, type MaintenanceJobs, type MaintenanceName } from '../../common/queues.ts';
import { createDatabase, withMigrationPool, type Database } from '../../common/postgres.ts';
import { closeRedis, createRedis, type Redis } from '../../common/redis.ts';
import { DEFAULT_REDIS_PREFIX } from '../../common/redis-names.ts';
import { createLogger } from '../../common/logger.ts';
import { closedTables, tableRights } from '../../migrations/grants.ts';
import { migrate } from '../../migrations/index.ts';
import { administrator } from '../support/administrator.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player } from '../support/player.ts';
import { asAppRole } from '../support/postgres.ts';
import { useStores, type Stores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

const every = ['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger'];

/** Two connections to a test's database: the owner's, and one as the tiers have it. */
function useRoles(stores: Stores): { readonly owner: Database; readonly app: Database } {
  const open: { owner?: Database; app?: Database } = {};
  before(() => {
    const pool = { DATABASE_POOL_MAX: 2 };
    open.owner = createDatabase({ DATABASE_URL: stores.databaseUrl, ...pool }, 'test');
    open.app = createDatabase({ DATABASE_URL: asAppRole(stores.databaseUrl), ...pool }, 'test');
  });
  after(async () => {
    await open.owner?.destroy();
    await open.app?.destroy();
  });
  return {
    get owner() {
      return open.owner!;
    },
    get app() {
      return open.app!;
    },
  };
}

describe('the role of the tiers', function () {
  this.timeout(60_000);

  describe('on a migrated database', () => {
    const stores = useStores();
    const roles = useRoles(stores);

    it('has exactly the rights that are listed, on every table', async () => {
      const { rows } = await roles.owner.raw<{ rows: { name: string; rights: string[] }[] }>(
        `select relname as name, array(
           select r from unnest(:every::text[]) r where has_table_privilege('laurel_app', c.oid, r)
           or r in ('select', 'insert', 'update', 'references') and has_any_column_privilege('laurel_app', c.oid, r)) as rights
         from pg_class c where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f')`,
        { every },
      );
      const expected = Object.fromEntries([
        ...Object.entries(tableRights),
        ...closedTables.map((name) => [name, []]),
      ]);
      expect(Object.fromEntries(rows.map(({ name, rights }) => [name, rights]))).to.deep.equal(expected);
      expect(tableRights['ledger']).to.deep.equal(['select']);
      expect(tableRights['audit_log']).to.deep.equal(['select', 'insert']);
    });

    for (const [what, statement] of [
      ['change a table', 'alter table ledger add column mine text'],
      ['drop a trigger', 'drop trigger ledger_is_append_only on ledger'],
      ['switch triggers off', 'alter table ledger disable trigger all'],
      ['switch triggers off for a session', 'set session_replication_role = replica'],
      ['make a table', 'create table mine (id text)'],
      ['make a schema', 'create schema mine'],
      ['make a function', 'create function mine() returns void language sql as $$ select $$'],
      [
        'replace a function',
        'create or replace function refuse_ledger_change() returns trigger language plpgsql as $$ begin return new; end $$',
      ],
      ['change an entry', `update ledger set points = 1`],
      ['delete an entry', 'delete from ledger'],
      ['empty the ledger', 'truncate ledger cascade'],
      [
        'write an entry by hand',
        `insert into ledger (id, kind, user_id, leaderboard, points, delta, before, after, global_delta, accepted_at) values ('a', 'adjustment', 'a', 'global', 1, 1, 0, 1, 1, now())`,
      ],
      ['write a score by hand', `insert into scores values (1, 'a', 1, now())`],
      ['change a score', 'update scores set score = 1'],
      ['change the audit log', `update audit_log set details = '{}'`],
      ['delete from the audit log', 'delete from audit_log'],
      ['delete users', 'delete from users'],
      ['read the key of erased subjects', 'select * from subject_key'],
      ['call functions that others of ours call', `select scrub_user('a', 1)`],
    ] as const) {
      it(`cannot ${what}`, async () => {
        const code = await roles.app.raw(statement.replaceAll('?', '\\?')).then(
          () => 'it can',
          (error: unknown) => (error as { code?: string }).code,
        );
        expect(code).to.equal('42501'); // insufficient_privilege
      });
    }

    it('finds functions that run as their owner, with a fixed path, and closed to everybody else', async () => {
      const { rows } = await roles.owner.raw<{
        rows: { name: string; definer: boolean; path: string | null; open: boolean }[];
      }>(
        `select proname as name, prosecdef as definer, (select c from unnest(proconfig) c where c like 'search_path=%') as path,
           exists (select from aclexplode(coalesce(proacl, acldefault('f', proowner))) where grantee = 0) as open
         from pg_proc where pronamespace = 'public'::regnamespace`,
      );
      expect(rows.filter(({ open }) => open)).to.deep.equal([]);
      const definers = rows.filter(({ definer }) => definer);
      expect(definers.map(({ name }) => name)).to.include.members([
        'apply_completions',
        'apply_correction',
        'erase_user',
      ]);
      for (const { name, path } of definers) expect(path, name).to.equal('search_path=public, pg_temp');
    });

    it('is not led elsewhere by tables of its own', async () => {
      await roles.app.transaction(async (trx) => {
        await trx.raw('create temp table audit_log (id text, at timestamptz, details jsonb)');
        await trx.raw(
          `insert into pg_temp.audit_log values ('mine', now() - interval '10 days', '{"ip": "a"}')`,
        );
        const { rows } = await trx.raw<{ rows: { cleared: number }[] }>(
          'select clear_audit_addresses(1, 10) as cleared',
        );
        expect(rows[0]?.cleared).to.equal(0);
        await trx.raw('drop table pg_temp.audit_log');
      });
    });

    it('gets nothing while it could do more in another way, and is told in which', async () => {
      const give = (role: string) => withMigrationPool(stores.databaseUrl, (db) => migrate(db, role));
      const refusal = async (role: string): Promise<string> =>
        give(role).then(
          () => 'taken',
          (error: unknown) => (error as Error).message,
        );
      const name = `excess_${process.pid}`;
      const { owner } = roles;
      expect(await refusal(name)).to.include(`create role "${name}"`);
      await owner.raw('create role ??', [name]);
      try {
        for (const [excess, undo, told] of [
          [`alter role ${name} superuser`, `alter role ${name} nosuperuser`, 'superuser'],
          [`grant laurel to ${name}`, `revoke laurel from ${name}`, 'MIGRATE_DATABASE_URL'],
          [
            `grant create on schema public to ${name}`,
            `revoke create on schema public from ${name}`,
            'revoke create on schema',
          ],
          ['grant update on ledger to public', 'revoke update on ledger from public', 'ledger'],
        ] as const) {
          await owner.raw(excess);
          expect(await refusal(name), excess).to.include(told);
          await owner.raw(undo);
          const { rows } = await owner.raw<{ rows: { may: boolean }[] }>(
            `select has_table_privilege(?, 'actions', 'insert') as may`,
            [name],
          );
          expect(rows[0]?.may, excess).to.equal(false);
        }
        expect(await refusal(name)).to.equal('taken');
      } finally {
        await owner.raw('drop owned by ??', [name]);
        await owner.raw('drop role ??', [name]);
      }
    });
  });

  describe('runs all of the product', () => {
    const stores = useStores();
    const system = useSystem(stores, { env: { PRIVACY_RETENTION_DAYS: '1' } });
    const roles = useRoles(stores);
    let redis: Redis;
    let queues: Queues;
    let admin: Player;
    const api = () => system.api[0]!.url;

    before(async () => {
      redis = createRedis(stores.redis.url, 'commands', createLogger('test', 'silent'), DEFAULT_REDIS_PREFIX);
      queues = new Queues(redis, 8);
      admin = await administrator(stores.databaseUrl, api());
    });
    after(async () => {
      await queues.close();
      await closeRedis(redis);
    });

    /** Has a maintenance job done. @returns its result */
    async function upkeep<N extends MaintenanceName>(name: N, data: MaintenanceJobs[N]): Promise<any> {
      const id = await queues.requestMaintenance(name, data);
      return eventually(
        async () => {
          const job = await queues.maintenance.getJob(id);
          expect(job?.failedReason).to.equal(undefined);
          expect(await job?.getState()).to.equal('completed');
          return job?.returnvalue as unknown;
        },
        { timeoutMs: 20_000 },
      );
    }

    it('with connections of that role only', async () => {
      await call(api(), 'GET', '/leaderboards');
      const { rows } = await roles.owner.raw<{ rows: { name: string }[] }>(
        `select distinct usename as name from pg_stat_activity
         where datname = current_database() and application_name in ('laurel-api', 'laurel-workers', 'laurel-realtime')`,
      );
      expect(rows.map(({ name }) => name)).to.deep.equal(['laurel_app']);
    });

    it('plays, cancels, corrects, takes back, bans and closes', async () => {
      const player = await Player.join(api());
      const played = await player.play(api(), 'COMPLETE_TASK', 'game1');
      expect(played.status, JSON.stringify(played.body)).to.equal(200);
      const open = await player.start(api());
      const cancelled = await call(api(), 'POST', `/actions/${open.body.actionId}/cancel`, {
        token: player.token,
      });
      expect(cancelled.status, JSON.stringify(cancelled.body)).to.be.below(300);
      const corrected = await call(api(), 'POST', `/admin/users/${player.userId}/adjustments`, {
        token: admin.token,
        body: { leaderboard: 'game1', delta: 5, reason: 'a test' },
      });
      expect(corrected.status, JSON.stringify(corrected.body)).to.be.oneOf([200, 202]);
      const undone = await call(api(), 'POST', `/admin/transactions/${played.body.transactionId}/rollback`, {
        token: admin.token,
        body: { reason: 'a test' },
      });
      expect(undone.status, JSON.stringify(undone.body)).to.be.oneOf([200, 202]);
      const kinds = () =>
        roles.owner('ledger').where({ user_id: player.userId }).orderBy('seq').pluck('kind');
      await eventually(async () =>
        expect(await kinds()).to.deep.equal(['completion', 'adjustment', 'rollback']),
      );
      const ban = (method: string) =>
        call(api(), method, `/admin/users/${player.userId}/ban`, {
          token: admin.token,
          ...(method === 'POST' && { body: { reason: 'a test' } }),
        });
      expect((await ban('POST')).status).to.be.below(300);
      expect((await ban('DELETE')).status).to.be.below(300);
      const closed = await call(api(), 'POST', '/admin/leaderboards/game1/close', {
        token: admin.token,
        body: { period: 'daily' },
      });
      expect(closed.status, JSON.stringify(closed.body)).to.equal(200);
    });

    it('erases', async () => {
      const player = await Player.join(api());
      expect((await player.play(api())).status).to.equal(200);
      const erased = await call(api(), 'DELETE', '/users/me', { token: player.token });
      expect(erased.status, JSON.stringify(erased.body)).to.be.below(300);
      await upkeep('erase', {});
      const rows = await roles.owner('actions').where({ user_id: player.userId }).pluck('ip');
      expect(rows).to.deep.equal([null]);
    });

    it('forgets, sums, closes, sweeps, expires and reconciles', async () => {
      await roles.owner('audit_log').insert({
        id: 'old',
        actor: 'system',
        action: 'test',
        at: new Date(Date.now() - 10 * 86_400_000),
        details: JSON.stringify({ ip: '203.0.113.9', kept: 1 }),
      });
      for (const name of ['forget', 'sum', 'close', 'sweep', 'expire'] as const) await upkeep(name, {});
      const found = await upkeep('reconcile', { trigger: 'cli' });
      expect(found.compared).to.be.above(0);
      const old = await roles.owner('audit_log').where({ id: 'old' }).first('details');
      expect(old.details).to.deep.equal({ kept: 1 });
    });
  });
});
