import { once } from 'node:events';
import { expect } from 'chai';
import { after, before } from 'mocha';
import { WebSocket } from 'ws';
import { LaurelClient } from '../../client/index.ts';
import { eventually } from '../support/eventually.ts';
import { useStores } from '../support/stores.ts';
import { spawnTier, useSystem, type RunningTier } from '../support/system.ts';
import { Listener, Stream } from './viewers.ts';

describe('an instance that is told to end', () => {
  const stores = useStores();
  const system = useSystem(stores);
  let instance: RunningTier;

  before(async () => {
    instance = await spawnTier('realtime', stores);
  });
  after(() => instance.stop());

  it('sends everybody away and ends in order, whether or not they listen', async () => {
    const listener = new Listener(instance.url);
    await listener.ask('join:leaderboard', { leaderboard: 'global' });
    const stream = await Stream.open(instance.url, '/leaderboards/global/stream');
    // Comes back at once, as often as it is sent away.
    const client = new LaurelClient({
      baseUrl: system.api[0]!.url,
      realtimeUrl: instance.url,
      transports: ['sse'],
    });
    const watcher = client.watch('global');
    // Neither reads nor answers.
    const deaf = new WebSocket(`${instance.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`);
    try {
      await once(deaf, 'open');
      deaf.pause();
      await eventually(() => expect(watcher.state).to.equal('live'));
      const ended = once(instance.process!, 'exit');
      instance.process!.kill('SIGTERM');
      expect(await ended).to.deep.equal([0, null]);
      expect(await listener.ended).to.equal('io server disconnect');
      await stream.ended;
    } finally {
      client.close();
      deaf.terminate();
    }
  });
});
