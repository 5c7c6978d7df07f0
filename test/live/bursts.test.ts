import { expect } from 'chai';
import { after, before } from 'mocha';
import { boardAt } from '../../common/board/board.ts';
import { BoardIndex } from '../../common/board/board-index.ts';
import { createLogger } from '../../common/logger.ts';
import { closeRedis, createRedis, untilReady, type Redis } from '../../common/redis.ts';
import { eventually } from '../support/eventually.ts';
import { Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { startTier, useSystem } from '../support/system.ts';
import { Listener, Stream } from './viewers.ts';

describe('bursts', () => {
  const stores = useStores();
  const system = useSystem(stores, { realtime: 1 });
  let redis: Redis;

  before(async () => {
    redis = createRedis(stores.redis.url, 'commands', createLogger('test', 'silent'));
    await untilReady(redis, 5_000);
  });
  after(() => closeRedis(redis));

  it('become at most ten updates a second, which add up to all of it', async () => {
    const base = system.realtime[0]!.url;
    const player = await Player.join(system.api[0]!.url);
    const listener = new Listener(base);
    const stream = await Stream.open(base, '/leaderboards/game1/stream?period=daily');
    try {
      const query = { leaderboard: 'game1', period: 'daily' };
      const { snapshot } = await listener.ask('join:leaderboard', query);
      const index = new BoardIndex(redis);
      const board = boardAt('game1', 'daily', Date.now());
      const began = Date.now();
      // As workers do it, but faster than the API would let them: a new top 10 with each of a thousand.
      for (let i = 1; i <= 1000; i += 1)
        await index.apply([{ board, steps: [{ userId: player.userId, score: i, reachedAt: began + i }] }]);
      const seconds = Math.ceil((Date.now() - began) / 1000);
      await eventually(() =>
        expect(listener.of('leaderboard:update').at(-1)?.entries[0].score).to.equal(1000),
      );
      const frames = listener.of('leaderboard:update');
      expect(frames.length).to.be.within(1, 10 * seconds);
      let version = snapshot.version as number;
      let gained = 0;
      for (const frame of frames) {
        expect(frame.previousVersion).to.equal(version);
        version = frame.version;
        for (const { delta } of frame.changes) gained += delta;
      }
      expect(version).to.equal(snapshot.version + 1000);
      expect(gained).to.equal(1000);
      await eventually(() =>
        expect(
          stream.events
            .filter(({ event }) => event === 'leaderboard:update')
            .map(({ data }) => JSON.parse(data)),
        ).to.deep.equal(frames),
      );
    } finally {
      listener.socket.disconnect();
      await stream.close();
    }
  });

  it('begin at once: a change after a quiet time does not wait for others', async () => {
    const realtime = await startTier('realtime', stores, { BROADCAST_WINDOW_MS: '10000' });
    const listener = new Listener(realtime.url);
    try {
      const player = await Player.join(system.api[0]!.url);
      const { snapshot } = await listener.ask('join:leaderboard', { leaderboard: 'game2' });
      await player.play(system.api[0]!.url, 'COMPLETE_TASK', 'game2');
      // Long before the window would be over.
      await eventually(() =>
        expect(listener.of('leaderboard:update').map(({ previousVersion }) => previousVersion)).to.deep.equal(
          [snapshot.version],
        ),
      );
    } finally {
      listener.socket.disconnect();
      await realtime.stop();
    }
  });
});
