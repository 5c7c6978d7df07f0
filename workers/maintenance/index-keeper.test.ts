import { expect } from 'chai';
import { after, before } from 'mocha';
import { BoardIndex } from '../../common/board/board-index.ts';
import { Catalog } from '../../common/catalog.ts';
import { createLogger } from '../../common/logger.ts';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { Queues } from '../../common/queues.ts';
import { closeRedis, createRedis, untilReady, type Redis } from '../../common/redis.ts';
import { eventually } from '../../test/support/eventually.ts';
import { useStores } from '../../test/support/stores.ts';
import { seed } from '../../test/support/system.ts';
import { IndexKeeper } from './index-keeper.ts';

describe('looking after what Redis alone keeps', () => {
  const stores = useStores();
  const log = createLogger('test', 'silent');
  let db: Database;
  let redis: Redis;
  let queues: Queues;
  let catalog: Catalog;
  before(async () => {
    await seed(stores.databaseUrl);
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
    redis = createRedis(stores.redis.url, 'commands', log);
    await untilReady(redis, 5000);
    queues = new Queues(redis, 1);
    catalog = new Catalog(db, log);
    await catalog.reload();
  });
  after(async () => {
    await queues.close();
    await closeRedis(redis);
    await db.destroy();
  });

  it('is done by another process when the one that noticed the loss ends before it has put everything back', async () => {
    const index = new BoardIndex(redis);
    const keep = (onLoss: () => Promise<void>): IndexKeeper => {
      const keeper = new IndexKeeper({ catalog, index, queues, log, onLoss });
      keeper.start();
      return keeper;
    };
    let noticed = 0;
    const dying = keep(() => {
      noticed += 1;
      return Promise.reject(new Error('the process ends here'));
    });
    await eventually(() => expect(noticed).to.be.above(0));
    await dying.stop();

    let restored = 0;
    const other = keep(() => {
      restored += 1;
      return Promise.resolve();
    });
    await eventually(() => expect(restored).to.be.above(0));
    await eventually(async () => expect(await index.wasEmptied()).to.equal(false));
    await other.stop();
  });
});
