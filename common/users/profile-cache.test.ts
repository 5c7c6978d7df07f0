import { expect } from 'chai';
import { after, before } from 'mocha';
import { createLogger } from '../logger.ts';
import { EventListener } from '../events.ts';
import { createDatabase, type Database } from '../postgres.ts';
import { closeRedis, createRedis, untilReady, type Redis } from '../redis.ts';
import { eventually } from '../../test/support/eventually.ts';
import { useStores } from '../../test/support/stores.ts';
import { ProfileCache } from './profile-cache.ts';
import { readProfiles } from './profiles.ts';
import { UserDirectory } from './user-directory.ts';

describe('what processes remember of users', () => {
  const stores = useStores();
  const log = createLogger('test', 'silent');
  let db: Database;
  let redis: Redis;
  let subscriber: Redis;

  before(async () => {
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
    redis = createRedis(stores.redis.url, 'commands', log);
    subscriber = createRedis(stores.redis.url, 'subscriber', log);
    await Promise.all([redis, subscriber].map((client) => untilReady(client, 5000)));
  });
  after(async () => {
    await Promise.all([redis, subscriber].map(closeRedis));
    await db.destroy();
  });

  const ban = (id: string): PromiseLike<unknown> =>
    db('users').where({ id }).update({ banned_at: new Date() });

  it('is not what a slow reader brings after a ban', async () => {
    await db('users').insert({ id: 'slow', username: 'slow', username_key: 'slow' });
    const cache = new ProfileCache(redis);
    const before = await readProfiles(db, ['slow']);
    await ban('slow');
    await cache.remember(await readProfiles(db, ['slow']));
    await cache.remember(before);
    expect((await cache.find(['slow'])).map(({ banned }) => banned)).to.deep.equal([true]);
  });

  it('is looked up anew when events may have been missed', async () => {
    await db('users').insert({ id: 'missed', username: 'missed', username_key: 'missed' });
    const directory = new UserDirectory(db, redis);
    await directory.start(new EventListener(subscriber, log));
    const banned = async () => (await directory.find('missed'))?.banned;
    expect(await banned()).to.equal(false);
    await ban('missed');
    await redis.flushall();
    expect(await banned(), 'nobody told').to.equal(false);
    await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await eventually(async () => expect(await banned()).to.equal(true));
  });
});
