import { execFileSync } from 'node:child_process';
import { chmod, chown, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { after, before } from 'mocha';
import pg from 'pg';
import { createDatabase as openDatabase, isTransient, withMigrationPool } from '../../common/postgres.ts';
import { createPostgresServer, type PostgresServer } from '../../dev/postgres.ts';
import { migrate } from '../../migrations/index.ts';
import { administrator } from '../support/administrator.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player } from '../support/player.ts';
import { temporaryFolder } from '../support/run-folder.ts';
import { useStores, type Stores } from '../support/stores.ts';
import { seed, startTier } from '../support/system.ts';
import { findPgBouncer, startPgBouncer, startStrictProxy, type Pooler } from './pgbouncer.ts';

/** Migrates, seeds, plays, bans and closes a season on a database at some address. */
async function live(stores: Stores, databaseUrl: string): Promise<void> {
  await withMigrationPool(databaseUrl, migrate);
  await seed(databaseUrl);
  const env = { DATABASE_URL: databaseUrl };
  const tiers = await Promise.all([startTier('workers', stores, env), startTier('api', stores, env)]);
  try {
    const { url } = tiers[1];
    await eventually(
      async () => {
        for (const tier of tiers) expect((await fetch(`${tier.url}/readyz`)).status).to.equal(200);
      },
      { timeoutMs: 20_000 },
    );
    const admin = await administrator(databaseUrl, url);
    const player = await Player.join(url);
    const played = await player.play(url, 'COMPLETE_QUEST', 'game1');
    expect(played.status, JSON.stringify(played.body)).to.equal(200);
    expect(played.body.score).to.deep.equal({ previous: 0, current: 50, delta: 50 });
    const listed = await call(url, 'GET', `/actions/${played.body.actionId}`, { token: player.token });
    expect(listed.body.completedAt).to.equal(played.body.completedAt);
    expect(Math.abs(Date.parse(listed.body.startedAt) - Date.now())).to.be.below(60_000);
    const history = await call(url, 'GET', `/users/${player.userId}/history`);
    expect(history.body.points.at(-1).score).to.equal(50);
    const headers = { 'idempotency-key': 'close-the-season' };
    const closed = await call(url, 'POST', '/admin/leaderboards/game1/close', {
      token: admin.token,
      body: { period: 'all' },
      headers,
    });
    expect(closed.status, JSON.stringify(closed.body)).to.be.oneOf([200, 202]);
    const ban = await call(url, 'POST', `/admin/users/${player.userId}/ban`, {
      token: admin.token,
      body: { reason: 'a test' },
      headers: { 'idempotency-key': 'ban-her' },
    });
    expect(ban.status).to.be.below(300);
    expect((await player.start(url)).status).to.equal(403);
  } finally {
    await Promise.all(tiers.map((tier) => tier.stop()));
  }
}

/** A statement that takes too long ends for its caller, and the next one does not wait for it. */
async function expectTimeLimit(databaseUrl: string): Promise<void> {
  const config = { DATABASE_URL: databaseUrl, DATABASE_POOL_MAX: 1 };
  const db = openDatabase(config, 'test', { statementTimeoutMs: 300 });
  try {
    await db.raw('select 1');
    const begin = Date.now();
    const error: unknown = await db.raw('select pg_sleep(2)').catch((reason: unknown) => reason);
    expect(isTransient(error), String(error)).to.equal(true);
    const { rows } = await db.raw<{ rows: object[] }>('select 1 as one');
    expect(rows).to.deep.equal([{ one: 1 }]);
    expect(Date.now() - begin).to.be.below(10_000);
  } finally {
    await db.destroy();
  }
}

describe('a database as people have them', function () {
  this.timeout(120_000);

  describe('behind PgBouncer with transaction pooling', () => {
    const stores = useStores();
    let folder: string;
    let pooler: Pooler | undefined;
    before(async function () {
      const program = findPgBouncer();
      if (program === undefined) {
        this.test?.parent?.tests.forEach(
          (one) => (one.title += ' (not tried: no pgbouncer; Debian: apt install pgbouncer)'),
        );
        this.skip();
      }
      folder = await mkdtemp(join(tmpdir(), 'laurel-pgbouncer-'));
      pooler = await startPgBouncer(program, folder, stores.databaseUrl);
    });
    after(async () => {
      await pooler?.stop();
      if (folder) await rm(folder, { recursive: true, force: true });
    });
    it('is migrated, played on, and closed', () => live(stores, pooler?.url ?? ''));
    it('keeps a time limit', () => expectTimeLimit(pooler?.url ?? ''));
  });

  describe('behind a pooler that refuses start-up parameters', () => {
    const stores = useStores();
    let proxy: Awaited<ReturnType<typeof startStrictProxy>>;
    before(async () => {
      proxy = await startStrictProxy(stores.databaseUrl);
    });
    after(() => proxy.stop());
    it('is migrated, played on, and closed', async () => {
      await live(stores, proxy.url);
      expect(proxy.refusals).to.include('options');
    });
    it('keeps a time limit', () => expectTimeLimit(proxy.url));
  });

  describe('whose settings are other than usual', () => {
    const stores = useStores();
    before(async () => {
      const client = new pg.Client({ connectionString: stores.databaseUrl });
      await client.connect();
      const { pathname } = new URL(stores.databaseUrl);
      for (const setting of [
        `datestyle = 'German'`,
        `timezone = 'Asia/Kolkata'`,
        `intervalstyle = 'sql_standard'`,
      ])
        await client.query(`alter database ${pathname.slice(1)} set ${setting}`);
      await client.end();
    });
    it('is migrated, played on, and closed', () => live(stores, stores.databaseUrl));
    it('is also read behind a pooler', async () => {
      const proxy = await startStrictProxy(stores.databaseUrl);
      const db = openDatabase({ DATABASE_URL: proxy.url, DATABASE_POOL_MAX: 1 }, 'test');
      const { rows } = await db.raw<{ rows: { at: unknown }[] }>(
        `select timestamptz '2026-02-03 04:05Z' as at`,
      );
      expect(rows).to.deep.equal([{ at: new Date('2026-02-03T04:05:00Z') }]);
      await db.destroy();
      await proxy.stop();
    });
  });

  describe('with a certificate of its own', () => {
    let server: PostgresServer;
    let folder: string;
    let ca: string;
    before(async () => {
      folder = await temporaryFolder('postgres');
      server = await createPostgresServer(folder);
      await server.start();
      const home = join(folder, 'postgres');
      ca = join(folder, 'ca.pem');
      const key = join(home, 'server.key');
      execFileSync(
        'openssl',
        [
          ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=db.example'],
          ...['-addext', 'subjectAltName=DNS:db.example', '-keyout', key, '-out', ca],
        ],
        { stdio: 'ignore' },
      );
      await writeFile(join(home, 'server.crt'), await readFile(ca));
      const { uid, gid } = await stat(home);
      for (const file of [key, join(home, 'server.crt')]) {
        await chmod(file, 0o600);
        await chown(file, uid, gid);
      }
      const client = new pg.Client({ connectionString: server.url() });
      await client.connect();
      await client.query('alter system set ssl = on');
      await client.end();
      await server.stop();
      await server.start();
    });
    after(async () => {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    });

    /** Whether the connection of an address is encrypted. */
    async function isEncrypted(query: string): Promise<boolean> {
      const db = openDatabase({ DATABASE_URL: `${server.url()}${query}`, DATABASE_POOL_MAX: 1 }, 'test');
      try {
        const { rows } = await db.raw<{ rows: { ssl: boolean }[] }>(
          'select ssl from pg_stat_ssl where pid = pg_backend_pid()',
        );
        return rows[0]?.ssl === true;
      } finally {
        await db.destroy();
      }
    }

    it('is reached as libpq reaches it', async () => {
      expect(await isEncrypted('')).to.equal(false);
      expect(await isEncrypted('?sslmode=disable')).to.equal(false);
      expect(await isEncrypted('?sslmode=allow')).to.equal(false);
      for (const mode of [
        'prefer',
        'require',
        'no-verify',
        `verify-ca&sslrootcert=${ca}`,
        `require&sslrootcert=${ca}`,
      ])
        expect(await isEncrypted(`?sslmode=${mode}`), mode).to.equal(true);
    });

    it('is refused by those who look at it, with what to write instead', async () => {
      const refusal = (query: string) => isEncrypted(query).then(String, String);
      expect(await refusal('?sslmode=verify-ca')).to.match(/sslrootcert=.*sslmode=require/);
      expect(await refusal('?sslmode=verify-full')).to.match(/sslrootcert=/);
      expect(await refusal(`?sslmode=verify-full&sslrootcert=${ca}`)).to.match(
        /for another name.*sslmode=verify-ca/,
      );
    });

    it('is found as the one of several hosts that answers', async () => {
      const url = new URL(server.url());
      const hosts = `127.0.0.1:1,127.0.0.1:${url.port}`;
      const several = server.url().replace(url.host, hosts);
      const db = openDatabase({ DATABASE_URL: several, DATABASE_POOL_MAX: 1 }, 'test');
      await db.raw('select 1');
      await db.destroy();
    });
  });
});
