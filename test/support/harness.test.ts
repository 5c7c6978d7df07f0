import { expect } from 'chai';
import { Redis } from 'ioredis';
import { after, before } from 'mocha';
import pg from 'pg';
import { eventually } from './eventually.ts';
import { assertNoLeaks } from './leaks.ts';
import { startPrivatePostgres, type PrivatePostgres } from './postgres.ts';
import { createRedis } from './redis.ts';
import { useStores } from './stores.ts';

describe('useStores', () => {
  const stores = useStores();

  it('gives a migrated database', async () => {
    const client = new pg.Client({ connectionString: stores.databaseUrl });
    await client.connect();
    const { rowCount } = await client.query("select from pg_tables where schemaname = 'public'");
    await client.end();
    expect(rowCount).to.be.above(0);
  });

  it('names the connections that were left open', async () => {
    const client = new pg.Client({
      connectionString: stores.databaseUrl,
      application_name: 'forgotten pool',
    });
    await client.connect();
    const redis = new Redis(stores.redis.url, { connectionName: 'forgotten worker' });
    await redis.ping();
    const error: unknown = await assertNoLeaks(stores.databaseUrl, stores.redis).catch(
      (reason: unknown) => reason,
    );
    expect(String(error)).to.include('forgotten pool').and.to.include('forgotten');
    await client.end();
    redis.disconnect();
    await assertNoLeaks(stores.databaseUrl, stores.redis);
  });
});

describe('createRedis', () => {
  it('is flushed, frozen, killed and restarted at will, at one address', async () => {
    const server = await createRedis();
    const client = new Redis(server.url, { maxRetriesPerRequest: null, retryStrategy: () => 20 });
    client.on('error', () => undefined);
    try {
      await client.set('a', '1');
      await server.flush();
      expect(await client.get('a')).to.equal(null);

      await client.set('a', '2');
      server.freeze();
      let answered = false;
      const answer = client.get('a').then((value) => {
        answered = true;
        return value;
      });
      // A second connection cannot get through either.
      const other = new Redis(server.url, {
        lazyConnect: true,
        commandTimeout: 100,
        retryStrategy: () => null,
      });
      other.on('error', () => undefined);
      await other.ping().then(
        () => expect.fail('a frozen Redis answered'),
        () => other.disconnect(),
      );
      expect(answered).to.equal(false);
      server.thaw();
      expect(await answer).to.equal('2');

      await server.restart();
      expect(await client.get('a')).to.equal('2');

      const { pid } = server;
      await server.kill9();
      expect(server.pid).to.equal(undefined);
      await server.restart({ empty: true });
      expect(server.pid).not.to.equal(pid);
      expect(await client.get('a')).to.equal(null);
    } finally {
      client.disconnect();
      await server.stop();
    }
  });
});

describe('startPrivatePostgres', () => {
  let postgres: PrivatePostgres;

  before(async () => {
    postgres = await startPrivatePostgres();
  });
  after(() => postgres.remove());

  const marks = async (): Promise<number> => {
    const client = new pg.Client({ connectionString: postgres.url });
    client.on('error', () => undefined);
    await client.connect();
    try {
      await client.query('create table if not exists mark (at timestamptz default now())');
      await client.query('insert into mark default values');
      return (await client.query('select from mark')).rowCount ?? 0;
    } finally {
      await client.end();
    }
  };

  it('keeps what it confirmed through stops and kills, at one address', async () => {
    expect(await marks()).to.equal(1);
    await postgres.stop();
    expect(await marks().catch(() => 'refused')).to.equal('refused');
    await postgres.start();
    expect(await marks()).to.equal(2);
    await postgres.kill9();
    await postgres.start();
    expect(await marks()).to.equal(3);
  });
});

describe('eventually', () => {
  it('repeats until it passes, and then returns the value', async () => {
    let calls = 0;
    const value = await eventually(
      () => {
        calls += 1;
        expect(calls).to.equal(3);
        return 'done';
      },
      { everyMs: 1 },
    );
    expect(value).to.equal('done');
  });

  it('fails with the last failure', async () => {
    let calls = 0;
    const error: unknown = await eventually(() => Promise.reject(new Error(`failure ${(calls += 1)}`)), {
      timeoutMs: 20,
      everyMs: 1,
    }).catch((reason: unknown) => reason);
    expect(String(error)).to.include(`failure ${calls}`);
    expect(calls).to.be.above(1);
  });
});
