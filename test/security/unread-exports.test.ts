import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { after, before } from 'mocha';
import { Exports } from '../../api/users/exports.ts';
import { createLogger } from '../../common/logger.ts';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { closeRedis, createRedis, untilReady, type Redis } from '../../common/redis.ts';
import { Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

/** Exports that a process makes at a time. */
const AT_ONCE = 3;

describe('exports that nobody reads', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores);
  const players: Player[] = [];
  let db: Database;
  let redis: Redis;

  before(async () => {
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
    redis = createRedis(stores.redis.url, 'commands', createLogger('test', 'silent'));
    await untilReady(redis, 5000);
    for (let n = 0; n <= AT_ONCE; n += 1) players.push(await Player.join(system.api[0]!.url));
    // More than any buffer on the way holds.
    await db.raw(
      `insert into actions (id, user_id, type, leaderboard, points, status, metadata, started_at, expires_at)
       select u.id || '-' || n, u.id, 'COMPLETE_TASK', 'global', 1, 'cancelled', to_jsonb(repeat('x', 1000)), now(), now()
       from users u, generate_series(1, 2000) n where u.id = any(?)`,
      [players.map(({ userId }) => userId)],
    );
  });
  after(async () => {
    await closeRedis(redis);
    await db.destroy();
  });

  it('keep others from theirs for a while only', async () => {
    const exports = new Exports({ db, redis, config: { RATE_LIMIT_EXPORTS_PER_DAY: 0 }, patienceS: 0.2 });
    const unread: Readable[] = [];
    for (const { userId } of players.slice(0, AT_ONCE)) unread.push(await exports.open(userId));
    const ended = unread.map((body) => once(body, 'error').catch(() => undefined));
    for (const body of unread) await once(body, 'readable');
    await Promise.all(ended);
    const last = await exports.open(players[AT_ONCE]!.userId);
    last.destroy();
  });
});
