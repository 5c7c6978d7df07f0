import { expect } from 'chai';
import { Redis } from './redis.ts';
import { eventually } from '../test/support/eventually.ts';
import { useStores } from '../test/support/stores.ts';
import { EventListener } from './events.ts';
import { createLogger } from './logger.ts';
import { closeRedis, createRedis } from './redis.ts';

describe('EventListener', () => {
  const stores = useStores();

  it('calls all who must look again after its connection was lost', async () => {
    const log = createLogger('test', 'silent');
    const subscriber = createRedis(stores.redis.url, 'subscriber', log);
    const other = new Redis(stores.redis.url);
    try {
      const events = new EventListener(subscriber, log);
      const heard: string[] = [];
      events.onResumed(() => heard.push('first'));
      events.onResumed(() => heard.push('second'));
      await events.onChange(() => heard.push('change'));
      expect(heard).to.deep.equal([]);
      await other.client('KILL', 'TYPE', 'PUBSUB');
      await eventually(() => expect(heard).to.deep.equal(['first', 'second']));
    } finally {
      await Promise.all([closeRedis(subscriber), closeRedis(other)]);
    }
  });
});
