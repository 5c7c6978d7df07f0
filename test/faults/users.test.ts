import { expect } from 'chai';
import { Redis } from 'ioredis';
import { after, afterEach, before } from 'mocha';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { RedisNames } from '../../common/redis-names.ts';
import { Listener, Stream } from '../live/viewers.ts';
import { administrator } from '../support/administrator.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

/** However Redis comes back, what it knows of users is right within this, milliseconds; and a machine under load is slow. */
const within = { timeoutMs: 10_000 };

describe('what Redis knows of users', function () {
  this.timeout(60_000);
  const stores = useStores();
  // A score is counted late right after Redis has come back, on a machine under load: it is waited for.
  const system = useSystem(stores, { realtime: 1, env: { COMPLETE_WAIT_MS: '10000' } });
  const api = (): string => system.api[0]!.url;
  const live = (): string => system.realtime[0]!.url;
  let db: Database;
  let redis: Redis;
  let admin: Player;
  const listeners: Listener[] = [];
  const streams: Stream[] = [];

  before(async () => {
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'seed');
    redis = new Redis(stores.redis.url);
    redis.on('error', () => undefined); // it is killed
    admin = await administrator(stores.databaseUrl, api());
  });
  afterEach(async () => {
    for (const { socket } of listeners.splice(0)) socket.disconnect();
    await Promise.all(streams.splice(0).map((one) => one.close()));
  });
  after(async () => {
    redis.disconnect();
    await db.destroy();
  });

  const watch = async (player: Player): Promise<[Listener, Stream]> => {
    const listener = new Listener(live(), player.token);
    listeners.push(listener);
    expect(await listener.handshake).to.deep.equal({ code: 'connected' });
    const authorization = `Bearer ${player.token}`;
    const stream = await Stream.open(live(), '/leaderboards/global/stream', { authorization });
    streams.push(stream);
    return [listener, stream];
  };
  const ban = (player: Player, method = 'POST') =>
    call(api(), method, `/admin/users/${player.userId}/ban`, {
      token: admin.token,
      ...(method === 'POST' && { body: { reason: 'cheating' } }),
    });
  const answersTo = async ({ token }: Player) => {
    const { status, body } = await call(api(), 'GET', '/users/me', { token });
    return [status, body.code ?? body.username];
  };
  const names = async (): Promise<Record<string, string>> => {
    const { body } = await call(api(), 'GET', '/leaderboards/global?limit=100');
    const entries = body.entries as { userId: string; username: string }[];
    return Object.fromEntries(entries.map(({ userId, username }) => [userId, username]));
  };
  const joined = async (count: number): Promise<Player[]> => {
    const players: Player[] = [];
    for (let i = 0; i < count; i += 1) {
      const player = await Player.join(api());
      expect((await player.play(api())).status).to.equal(200);
      players.push(player);
    }
    return players;
  };
  const ready = () =>
    eventually(async () => expect((await call(api(), 'GET', '//readyz')).status).to.equal(200), within);
  const emptied = () =>
    eventually(async () => expect(await db('user_changes').select('user_id')).to.deep.equal([]), within);

  /** Redis has heard of the newest change, which it is asked for a few times a second. */
  const noted = () =>
    eventually(async () => {
      const { rows } = await db.raw('select last_value from users_revision');
      expect(await redis.get(new RedisNames().newestUserRevision)).to.equal(rows[0].last_value);
    }, within);

  it('is not what an old dump says, when Redis is restored from one', async () => {
    const [banned, erased, renamed, freed] = await joined(4);
    await ban(freed!);
    for (const player of [banned!, erased!, renamed!]) await answersTo(player);
    const restore = await stores.redis.copy();
    await ban(banned!);
    await ban(freed!, 'DELETE');
    expect((await call(api(), 'DELETE', '/users/me', { token: erased!.token })).status).to.equal(204);
    const name = `renamed${process.pid}`;
    await call(api(), 'PATCH', '/users/me', { token: renamed!.token, body: { username: name } });
    await restore();
    await ready();
    await eventually(async () => {
      expect(await answersTo(banned!)).to.deep.equal([403, 'USER_BANNED']);
      expect(await answersTo(erased!)).to.deep.equal([401, 'UNAUTHENTICATED']);
      expect(await answersTo(renamed!)).to.deep.equal([200, name]);
      expect(await answersTo(freed!)).to.deep.equal([200, freed!.username]);
      expect((await call(api(), 'GET', `/users/${erased!.userId}`)).status).to.equal(404);
      const shown = await names();
      expect(shown).not.to.have.any.keys(banned!.userId, erased!.userId);
      expect(shown).to.include({ [renamed!.userId]: name, [freed!.userId]: freed!.username });
    }, within);
  });

  it('is told when it returns what happened while it was away, and so are open sockets and streams', async () => {
    const [banned, freed] = await joined(2);
    await ban(freed!);
    const [listener, stream] = await watch(banned!);
    await emptied();
    await stores.redis.kill9();
    // Postgres has taken it: the operator is not asked to repeat it.
    expect((await ban(banned!)).status).to.equal(200);
    expect((await ban(freed!, 'DELETE')).status).to.equal(200);
    await stores.redis.restart();
    await ready();
    await Promise.all([listener.ended, stream.ended]);
    await eventually(async () => {
      expect(await answersTo(banned!)).to.deep.equal([403, 'USER_BANNED']);
      expect(await answersTo(freed!)).to.deep.equal([200, freed!.username]);
      const shown = await names();
      expect(shown).not.to.have.property(banned!.userId);
      expect(shown).to.have.property(freed!.userId);
    }, within);
    expect(listener.of('session:closed')).to.deep.equal([{ code: 'USER_BANNED' }]);
    await emptied();
  });

  it('does not keep a connection open whose ban was announced while nobody could hear it', async () => {
    const [banned, other] = await joined(2);
    const [[listener, stream], [stranger]] = await Promise.all([watch(banned!), watch(other!)]);
    await emptied();
    await stores.redis.kill9();
    expect((await ban(banned!)).status).to.equal(200);
    // As when the workers are connected again before the live tier is: the change has been passed on.
    await db('user_changes').delete();
    await stores.redis.restart();
    const closed = () => listener.of('session:closed');
    await eventually(() => expect(closed()).to.deep.equal([{ code: 'USER_BANNED' }]), within);
    await Promise.all([listener.ended, stream.ended]);
    expect(stranger.socket.connected).to.equal(true);
    await ready();
  });

  it('is told of what was changed past Laurel, by hand in Postgres', async () => {
    const [banned, renamed, demoted, erased] = await joined(4);
    const [listener, stream] = await watch(banned!);
    const [withdrawn] = await watch(demoted!);
    const [gone, goneStream] = await watch(erased!);
    await answersTo(renamed!);
    stores.redis.freeze();
    await db('users').where({ id: banned!.userId }).update({ banned_at: new Date() });
    await db('users').where({ id: renamed!.userId }).update({ username: 'by hand' });
    await db('users').where({ id: demoted!.userId }).increment('token_epoch');
    await db('users').where({ id: erased!.userId }).update({ erased_at: new Date() });
    stores.redis.thaw();
    await Promise.all(
      [listener, stream, withdrawn, gone, goneStream].map(
        (connection) => connection.ended as Promise<unknown>,
      ),
    );
    for (const one of [withdrawn, gone])
      expect(one.of('session:closed')).to.deep.equal([{ code: 'UNAUTHENTICATED' }]);
    await eventually(async () => {
      expect(await answersTo(banned!)).to.deep.equal([403, 'USER_BANNED']);
      expect(await answersTo(renamed!)).to.deep.equal([200, 'by hand']);
      const shown = await names();
      expect(shown).not.to.have.property(banned!.userId);
      expect(shown).to.have.property(renamed!.userId, 'by hand');
    }, within);
  });

  it('does not outlive a Postgres that was restored from an older backup', async () => {
    const [vanished] = await joined(1);
    await answersTo(vanished!);
    const [listener] = await watch(vanished!);
    await noted();
    // What a restore does: rows and the sequence are older, and no trigger has seen it.
    await db.transaction(async (trx) => {
      await trx.raw('alter table users disable trigger user');
      const sessions = trx('sessions').where({ user_id: vanished!.userId });
      await trx('refresh_tokens').whereIn('session_id', sessions.clone().select('id')).delete();
      await sessions.delete();
      await trx('achievements').delete();
      await trx('users').where({ id: vanished!.userId }).delete();
      await trx.raw(`select setval('users_revision', last_value - 1) from users_revision`);
      await trx.raw('alter table users enable trigger user');
    });
    expect((await listener.ended) && listener.of('session:closed')).to.deep.equal([
      { code: 'UNAUTHENTICATED' },
    ]);
    await eventually(
      async () => expect(await answersTo(vanished!)).to.deep.equal([404, 'USER_NOT_FOUND']),
      within,
    );
  });

  it('is put right by reconciliation, which counts it', async () => {
    const [banned, kept] = await joined(2);
    expect((await ban(banned!)).status).to.equal(200);
    await answersTo(kept!);
    await emptied();
    const keys = await redis.keys(`*{${banned!.userId}}*`);
    const key = keys.find((one) => one.includes('user:')) ?? '';
    const profile = JSON.parse((await redis.hget(key, 'profile')) ?? '{}') as object;
    // The key names the run of the server: another one is asked for nothing that this one held.
    expect(key).to.include(/run_id:(\w+)/.exec(await redis.info('server'))![1]!);
    expect(profile).to.include({ banned: true });
    expect(await redis.ttl(key)).to.be.within(1, 300);
    await redis.hset(key, { profile: JSON.stringify({ ...profile, banned: false }), revision: '9999999' });
    const drifts = async (): Promise<{ drifted: number }[]> => {
      const { body } = await call(api(), 'GET', '/admin/reconciliations', { token: admin.token });
      return body.reconciliations;
    };
    const before = (await drifts()).length;
    const asked = await call(api(), 'POST', '/admin/reconciliations', { token: admin.token });
    expect(asked.status).to.equal(202);
    await eventually(async () => {
      // The new run of Redis has begun one too, which may be under way.
      const all = await drifts();
      const since = all.slice(0, all.length - before);
      expect(since.map((one) => one.drifted)).to.include(1);
    }, within);
    expect(JSON.parse((await redis.hget(key, 'profile')) ?? '{}')).to.include({ banned: true });
    expect(await answersTo(banned!)).to.deep.equal([403, 'USER_BANNED']);
  });
});
