import { expect } from 'chai';
import { Redis } from '../../common/redis.ts';
import { after, before } from 'mocha';
import { announce } from '../../common/events.ts';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { administrator } from '../support/administrator.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';
import { Listener, Stream } from '../live/viewers.ts';

describe('withdrawn access tokens', () => {
  const stores = useStores();
  const system = useSystem(stores, { realtime: 1 });
  const api = (): string => system.api[0]!.url;
  const live = (): string => system.realtime[0]!.url;
  let db: Database;

  before(() => {
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'seed');
  });
  after(() => db.destroy());

  const status = async (token: string, path = '/users/me'): Promise<[number, string | undefined]> => {
    const answer = await call(api(), 'GET', path, { token });
    return [answer.status, answer.body.code];
  };
  const becomes = (token: string, expected: [number, string | undefined], path?: string) =>
    eventually(async () => expect(await status(token, path)).to.deep.equal(expected));
  /** Has a user asked of Postgres at the next look-up. */
  const forget = async (userId: string): Promise<void> => {
    await stores.redis.flush();
    const redis = new Redis(stores.redis.url);
    await announce(redis, { kind: 'user', userId });
    await redis.quit();
  };

  it('are refused on HTTP, sockets and streams once the epoch has risen, and new ones are not', async () => {
    const player = await Player.join(api());
    await db('users').where({ id: player.userId }).update({ token_epoch: 3 });
    await forget(player.userId);
    await becomes(player.token, [401, 'UNAUTHENTICATED']);
    const listener = new Listener(live(), player.token);
    expect((await listener.handshake).code).to.equal('UNAUTHENTICATED');
    const authorization = `Bearer ${player.token}`;
    const stream = await Stream.open(live(), '/leaderboards/global/stream', { authorization });
    expect([stream.status, stream.problem.code]).to.deep.equal([401, 'UNAUTHENTICATED']);

    const renewed = await call(api(), 'POST', '/auth/refresh', {
      body: { refreshToken: player.refreshToken },
    });
    expect(await status(renewed.body.accessToken as string)).to.deep.equal([200, undefined]);
  });

  it('are those of a user whose role or password changes, by any way', async () => {
    for (const columns of [{ role: 'admin' }, { password_hash: 'another' }]) {
      const player = await Player.join(api());
      await db('users').where({ id: player.userId }).update(columns);
      await forget(player.userId);
      await becomes(player.token, [401, 'UNAUTHENTICATED']);
    }
  });

  it('take the rights of an administrator with them', async () => {
    const admin = await administrator(stores.databaseUrl, api());
    expect(await status(admin.token, '/admin/features')).to.deep.equal([200, undefined]);
    // Even where the epoch is kept by force.
    await db.transaction(async (trx) => {
      await trx.raw('alter table users disable trigger users_are_stamped');
      await trx('users')
        .where({ id: admin.userId })
        .update({ role: 'player', revision: db.raw(`nextval('users_revision')`) });
      await trx.raw('alter table users enable trigger users_are_stamped');
    });
    await forget(admin.userId);
    await becomes(admin.token, [403, 'FORBIDDEN'], '/admin/features');
    expect(await status(admin.token)).to.deep.equal([200, undefined]);
  });
});
