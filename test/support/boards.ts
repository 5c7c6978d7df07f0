import { expect } from 'chai';
import { BoardIndex } from '../../common/board/board-index.ts';
import { boardAt } from '../../common/board/board.ts';
import { createLogger } from '../../common/logger.ts';
import { periods } from '../../common/periods.ts';
import { closeRedis, createRedis, untilReady } from '../../common/redis.ts';
import { eventually } from './eventually.ts';
import type { Stores } from './stores.ts';

/** Waits until Redis holds the boards of a new leaderboard: before that, ranks come from Postgres and nothing is known of milestones. */
export async function untilBoardsAreMade(stores: Stores, leaderboard: string): Promise<void> {
  const redis = createRedis(stores.redis.url, 'commands', createLogger('test', 'silent'));
  try {
    await untilReady(redis, 5000);
    const boards = periods.map((period) => boardAt(leaderboard, period, Date.now()));
    await eventually(async () => expect(await new BoardIndex(redis).incomplete(boards)).to.deep.equal([]));
  } finally {
    await closeRedis(redis);
  }
}
