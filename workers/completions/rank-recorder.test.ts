import { expect } from 'chai';
import { createLogger } from '../../common/logger.ts';
import { createDatabase } from '../../common/postgres.ts';
import { eventually } from '../../test/support/eventually.ts';
import { useStores } from '../../test/support/stores.ts';
import { Ledger } from './ledger.ts';
import { RankRecorder } from './rank-recorder.ts';

describe('RankRecorder', () => {
  const stores = useStores();

  it('keeps ranks until Postgres takes them', async () => {
    const db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 1 }, 'test');
    const refusals: unknown[] = [];
    const log = createLogger('test', 'silent');
    const recorder = new RankRecorder(new Ledger(db), {
      ...log,
      debug: (about: unknown) => void refusals.push(about),
    } as typeof log);
    try {
      await db.raw('alter table completion_ranks rename to hidden_ranks');
      recorder.add([['an-action', null, 7, null]]);
      await eventually(() => expect(refusals).not.to.have.length(0));
      await db.raw('alter table hidden_ranks rename to completion_ranks');
      await eventually(async () =>
        expect(await db('completion_ranks')).to.deep.equal([
          { action_id: 'an-action', previous: null, current: 7 },
        ]),
      );
      // Ranks need not be on the disk before they count as kept. What the same connection confirms afterwards must be.
      const { rows } = await db.raw<{ rows: unknown[] }>('show synchronous_commit');
      expect(rows).to.deep.equal([{ synchronous_commit: 'on' }]);
    } finally {
      await recorder.close();
      await db.destroy();
    }
  });
});
