import { expect } from 'chai';
import { useStores } from '../../test/support/stores.ts';
import { seed } from '../../test/support/system.ts';
import { createDatabase, type Database } from '../postgres.ts';
import { boardAt } from './board.ts';
import { BoardTable } from './board-table.ts';

describe('BoardTable', () => {
  const stores = useStores();
  let db: Database;

  before(async () => {
    await seed(stores.databaseUrl);
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
  });
  after(() => db.destroy());

  it('tells the total of a small board as it is, though figures may be kept', async () => {
    const board = boardAt('game1', 'all', 0);
    const [period] = await db('board_periods')
      .insert({ leaderboard: 'game1', period: 'all', starts_at: new Date(0) })
      .returning('id');
    const join = async (id: string, score: number): Promise<void> => {
      await db('users').insert({ id, username: id, username_key: id });
      await db('scores').insert({ board_period_id: period.id, user_id: id, score, reached_at: new Date() });
    };
    const table = new BoardTable(db, { figuresMaxAgeMs: 60_000 });
    await join('first', 40);
    await join('second', 30);
    expect((await table.standings(board, ['second'], 0)).total).to.equal(2);
    await join('third', 20);
    await join('fourth', 10);
    expect(await table.standings(board, ['second'], 0)).to.deep.include({ total: 4 });
    expect((await table.page(board, 0, 1)).total).to.equal(4);
  });
});
