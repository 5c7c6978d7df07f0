import { expect } from 'chai';
import { after, before } from 'mocha';
import { boardAt } from '../../common/board/board.ts';
import { BoardIndex } from '../../common/board/board-index.ts';
import { BoardTable } from '../../common/board/board-table.ts';
import { createLogger } from '../../common/logger.ts';
import { Interrupted } from '../../common/patience.ts';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { Queues } from '../../common/queues.ts';
import { closeRedis, createRedis, untilReady, type Redis } from '../../common/redis.ts';
import { ProfileCache } from '../../common/users/profile-cache.ts';
import { useStores } from '../../test/support/stores.ts';
import { rebuildBoards } from './rebuild.ts';
import { reconcile, type ReconcileDeps } from './reconcile.ts';

const USERS = 5000;
const board = boardAt('global', 'all', 0);

describe('reconcile', () => {
  const stores = useStores();
  const log = createLogger('test', 'silent');
  let db: Database;
  let redis: Redis;
  let queues: Queues;

  before(async () => {
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 4 }, 'test');
    redis = createRedis(stores.redis.url, 'commands', log);
    await untilReady(redis, 5000);
    queues = new Queues(redis, 1);
    await db.raw(`insert into leaderboards (key, title) values ('global', 'Global') on conflict do nothing`);
    await db('board_periods').insert({ leaderboard: 'global', period: 'all', starts_at: new Date(0) });
    await db.raw(
      `insert into users (id, username, username_key) select 'u' || n, n, n from generate_series(1, :USERS::int) n`,
      { USERS },
    );
    await db.raw(
      `insert into scores (board_period_id, user_id, score, reached_at)
       select b.id, 'u' || n, n, now() from board_periods b, generate_series(1, :USERS::int) n`,
      { USERS },
    );
    await rebuildBoards([board], deps({}));
  });
  after(async () => {
    await queues.close();
    await closeRedis(redis);
    await db.destroy();
  });

  const deps = (own: Partial<ReconcileDeps>): ReconcileDeps => ({
    index: new BoardIndex(redis),
    table: new BoardTable(db),
    db,
    redis,
    cache: new ProfileCache(redis),
    queues,
    log,
    signal: new AbortController().signal,
    isBusy: () => false,
    ...own,
  });

  it('rests between chunks while completions are being applied, and ends there when it is told to', async () => {
    const ending = new AbortController();
    // Nothing but a rest heeds the signal when nothing differs.
    const isBusy = (): boolean => {
      ending.abort();
      return true;
    };
    const error: unknown = await reconcile([board], 'cli', deps({ isBusy, signal: ending.signal })).catch(
      (reason: unknown) => reason,
    );
    expect(error).to.be.instanceOf(Interrupted);
    const rested = await reconcile([board], 'cli', deps({ isBusy: () => true }));
    expect(rested).to.include({ compared: USERS, drifted: 0 });
  });

  it('goes on without a rest when there is nothing else to do', async () => {
    const found = await reconcile([board], 'cli', deps({ signal: AbortSignal.abort() }));
    expect(found).to.include({ compared: USERS, drifted: 0 });
  });
});
