import { expect } from 'chai';
import { Clock } from './clock.ts';
import { createLogger } from './logger.ts';
import { closeRedis, createRedis, untilReady } from './redis.ts';
import { useStores } from '../test/support/stores.ts';

describe('Redis’s time', () => {
  const stores = useStores();

  it('is not mistaken by a process that was too busy to hear the answer', async () => {
    const log = createLogger('test', 'silent');
    const redis = createRedis(stores.redis.url, 'commands', log);
    await untilReady(redis, 5000);
    const clock = new Clock(redis, log);
    try {
      const started = clock.start();
      await new Promise(setImmediate); // the question has left
      const until = Date.now() + 300;
      while (Date.now() < until);
      await started;
      // Both read the clock of one machine.
      expect(clock.skewSeconds).to.equal(0);
    } finally {
      clock.stop();
      await closeRedis(redis);
    }
  });
});
