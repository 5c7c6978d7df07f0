import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { after, before } from 'mocha';
import { redeemPasswordReset } from '../common/identity/password-resets.ts';
import { createDatabase, type Database } from '../common/postgres.ts';
import { ensureUser } from '../common/seed.ts';
import { expectQuietEnd } from '../test/support/closed-output.ts';
import { temporaryFolder } from '../test/support/run-folder.ts';
import { eventually } from '../test/support/eventually.ts';
import { signedJob } from '../test/support/jobs.ts';
import { useStores } from '../test/support/stores.ts';
import { useSystem } from '../test/support/system.ts';
import { Ledger } from '../workers/completions/ledger.ts';

const entry = join(import.meta.dirname, 'index.ts');

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The command line on a data folder, with these variables and no other. */
function laurel(args: readonly string[], dataDir: string, env: Record<string, string> = {}): Promise<Result> {
  return new Promise((resolve) => {
    const options = { env: { PATH: process.env['PATH'], DATA_DIR: dataDir, ...env } };
    execFile(process.execPath, ['--import', 'tsx', entry, ...args], options, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error ? -1 : 0, stdout, stderr });
    });
  });
}

describe('laurel, the command line', function () {
  this.timeout(60_000);

  const stores = useStores();
  let folder: string;

  before(async () => {
    folder = await temporaryFolder('cli');
  });

  it('tells its commands and exit codes', async () => {
    const { code, stdout } = await laurel(['--help'], folder);
    expect(code).to.equal(0);
    for (const word of ['migrate', 'seed', 'reset-password', 'reconcile', 'Exit codes'])
      expect(stdout).to.include(word);
  });

  it('ends quietly when nobody reads what it prints any more, as behind “| head”', () =>
    expectQuietEnd([entry, '--help'], { DATA_DIR: folder }));

  it('ends with 2 on a command that it does not know', async () => {
    const { code, stderr } = await laurel(['recncile'], folder);
    expect(code).to.equal(2);
    expect(stderr).to.include('recncile');
  });

  it('ends with 2, and says what to do, when no store is named and none runs', async () => {
    const { code, stderr } = await laurel(['migrate'], folder);
    expect(code).to.equal(2);
    expect(stderr.trim().split('\n')).to.have.length(1);
    expect(stderr).to.include('Set DATABASE_URL,').and.to.include('npm start');
    const reconcile = await laurel(['reconcile'], folder);
    expect(reconcile.code).to.equal(2);
    expect(reconcile.stderr).to.include('Set REDIS_URL,');
  });

  it('migrates in production with the address of the tables’ owner alone, and gives the tiers’ role its rights', async () => {
    const env = { NODE_ENV: 'production', MIGRATE_DATABASE_URL: stores.databaseUrl };
    const { code, stdout, stderr } = await laurel(['migrate'], folder, {
      ...env,
      DATABASE_APP_ROLE: 'laurel_app',
    });
    expect(code, stderr).to.equal(0);
    expect(stdout).to.include('The role laurel_app has');
    const missing = await laurel(['migrate'], folder, { ...env, DATABASE_APP_ROLE: 'nobody_made_me' });
    expect(missing.code).to.equal(1);
    expect(missing.stderr).to.include('create role "nobody_made_me"');
  });

  it('ends with 1 at once, and without the password, when Postgres refuses it', async () => {
    const url = new URL(stores.databaseUrl);
    url.pathname = '/no_such_database';
    const env = { DATABASE_URL: url.href, REDIS_URL: stores.redis.url };
    const { code, stderr } = await laurel(['migrate'], folder, env);
    expect(code).to.equal(1);
    expect(stderr).to.include('no_such_database').and.to.include('DATABASE_URL');
    if (url.password !== '') expect(stderr).not.to.include(url.password);
  });

  it('names no password of a store that does not answer', async () => {
    for (const [command, env] of [
      ['reconcile', { REDIS_URL: 'redis://:hunter2@127.0.0.1:1' }],
      ['replay', { DATABASE_URL: 'postgres://laurel:hunter2@127.0.0.1:1/laurel' }],
    ] as const) {
      const { code, stdout, stderr } = await laurel([command], folder, env);
      expect(code, stderr).to.equal(1);
      expect(stderr).to.include('127.0.0.1:1');
      expect(stdout + stderr, command).not.to.include('hunter2');
    }
  });

  it('uses the stores of the `npm start` that runs on the data folder', async () => {
    const dataDir = join(folder, 'data');
    await mkdir(dataDir);
    const endpoints = { databaseUrl: stores.databaseUrl, redisUrl: stores.redis.url };
    await writeFile(join(dataDir, 'endpoints.json'), JSON.stringify(endpoints));
    const migrated = await laurel(['migrate'], dataDir);
    expect(migrated.code, migrated.stderr).to.equal(0);
    const seeded = await laurel(['seed'], dataDir);
    expect(seeded.code, seeded.stderr).to.equal(0);
    expect(seeded.stdout).to.include('No administrator was made');
  });

  it('refuses to make an administrator of a player who has the name, and says what to do', async () => {
    const db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
    try {
      await ensureUser(db, 'opsteam', 'a password of mine', 'player');
      const names = { ADMIN_USERNAME: 'OpsTeam', ADMIN_PASSWORD: 'the operator’s own' };
      const env = { DATABASE_URL: stores.databaseUrl, REDIS_URL: stores.redis.url, ...names };
      const { code, stderr } = await laurel(['seed'], folder, env);
      expect(code).to.equal(1);
      expect(stderr).to.include('belongs to a player').and.to.include('ADMIN_USERNAME');
    } finally {
      await db.destroy();
    }
  });

  it('prints a token with which a user chooses a new password', async () => {
    const db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
    try {
      const userId = await ensureUser(db, 'forgetful', 'a password of mine', 'player');
      const env = { DATABASE_URL: stores.databaseUrl, REDIS_URL: stores.redis.url };
      const { code, stdout, stderr } = await laurel(['reset-password', 'Forgetful'], folder, env);
      expect(code, stderr).to.equal(0);
      expect(await redeemPasswordReset(db, stdout.trim(), 'a new hash')).to.equal(userId);
      const unknown = await laurel(['reset-password', 'nobody at all'], folder, env);
      expect([unknown.code, unknown.stdout]).to.deep.equal([1, '']);
      expect(unknown.stderr).to.include('nobody at all');
    } finally {
      await db.destroy();
    }
  });
});

describe('laurel, the command line, against running workers', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores, { api: 0 });
  let folder: string;
  const settings = () => ({ DATABASE_URL: stores.databaseUrl, REDIS_URL: stores.redis.url });
  let db: Database;
  before(async () => {
    folder = await temporaryFolder('cli');
    expect(system.workers).to.have.length(1);
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 1 }, 'test');
    // Workers reconcile when they begin, and for a Redis that they have not seen, which may be one job for both: later they would
    // find what is meant for this test.
    await eventually(
      async () => {
        const begun = await db('reconciliations').select('finished_at');
        expect(begun.length).to.be.above(0);
        expect(begun.filter(({ finished_at: at }) => at === null)).to.deep.equal([]);
      },
      { timeoutMs: 20_000 },
    );
    await db('users').insert(['x', 'y'].map((id) => ({ id, username: id, username_key: id })));
    await new Ledger(db).apply(['x', 'y'].map((id) => signedJob(id, `reconciled-${id}`)));
  });
  after(() => db.destroy());

  it('reconciles, prints what was compared and what differed, and agrees the next time', async () => {
    // Two users on two boards of four periods each, of which Redis has heard nothing yet.
    const { code, stdout, stderr } = await laurel(['reconcile'], folder, settings());
    expect(code, stderr).to.equal(0);
    expect(stdout)
      .to.match(/boards +compared +drifted\n +\d+ +16 +2\n/)
      .and.include('differed for 2 users');
    await eventually(
      async () => {
        const again = await laurel(['reconcile'], folder, settings());
        expect(again.stdout)
          .to.match(/ +\d+ +16 +0\n/)
          .and.include('Redis agrees with Postgres.');
      },
      { timeoutMs: 20_000 },
    );
  });

  it('replays the ledger, and ends with 1 where the scores are not what it says', async () => {
    const right = await laurel(['replay'], folder, settings());
    expect(right.code, right.stderr).to.equal(0);
    expect(right.stdout).to.match(/^2 entries of \d+ users added up, 16 scores compared, 0 differ\./);
    expect(right.stdout).to.include('The scores are what the ledger says.');
    await db('scores').where({ user_id: 'x' }).limit(1).update({ score: 11 });
    const wrong = await laurel(['replay'], folder, settings());
    expect(wrong.code).to.equal(1);
    expect(wrong.stdout).to.include('x on ');
  });
});
