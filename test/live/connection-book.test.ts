import { once } from 'node:events';
import { expect } from 'chai';
import { Redis } from '../../common/redis.ts';
import { after, before } from 'mocha';
import { createLogger } from '../../common/logger.ts';
import { closeRedis, createRedis, untilReady } from '../../common/redis.ts';
import { ConnectionBook } from '../../realtime/connections/book.ts';
import { eventually } from '../support/eventually.ts';
import { Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { spawnTier, useSystem, type RunningTier } from '../support/system.ts';
import { Listener } from './viewers.ts';

describe('the book of connections', () => {
  const stores = useStores();
  const system = useSystem(stores);
  const instances: RunningTier[] = [];
  const listeners: Listener[] = [];
  let redis: Redis;

  before(async () => {
    redis = new Redis(stores.redis.url);
    instances.push(...(await Promise.all([0, 1].map(() => spawnTier('realtime', stores)))));
  });
  after(async () => {
    for (const { socket } of listeners) socket.disconnect();
    await Promise.all(instances.map((tier) => tier.stop()));
    await redis.quit();
  });

  const written = async (userId: string): Promise<string[]> =>
    (await redis.zrange(`laurel:{${userId}}:connections`, '0', '-1')).sort();
  /** Waits until these connections of a user, and no others, are in the book. */
  const holds = (userId: string, open: readonly Listener[]): Promise<void> =>
    eventually(async () => {
      const ids = (await written(userId)).map((member) => member.split(':').at(-1));
      expect(ids).to.deep.equal(open.map(({ socket }) => socket.id));
    });
  const connect = async (i: number, player: Player): Promise<Listener> => {
    const listener = new Listener(instances[i]!.url, player.token);
    listeners.push(listener);
    expect(await listener.handshake).to.deep.equal({ code: 'connected' });
    return listener;
  };

  it('counts those of a killed instance no more, so that nobody is sent away in their stead', async () => {
    const player = await Player.join(system.api[0]!.url);
    const oldest = await connect(1, player);
    await holds(player.userId, [oldest]);
    const first = await connect(0, player);
    await holds(player.userId, [oldest, first]);
    const second = await connect(0, player);
    await holds(player.userId, [oldest, first, second]);

    instances[0]!.process!.kill('SIGKILL');
    await Promise.all([once(instances[0]!.process!, 'exit'), first.ended, second.ended]);
    const again = await connect(1, player);
    await eventually(async () => expect((await written(player.userId)).join()).to.include(again.socket.id));
    const another = await connect(1, player);
    await holds(player.userId, [oldest, again, another]);
    expect(oldest.socket.connected).to.equal(true);

    // There are three: a fourth sends the oldest away, as ever.
    const fourth = await connect(1, player);
    await oldest.ended;
    expect(oldest.of('session:closed')).to.deep.equal([{ code: 'TOO_MANY_CONNECTIONS' }]);
    await holds(player.userId, [again, another, fourth]);
    expect([again, another, fourth].map(({ socket }) => socket.connected)).to.deep.equal([true, true, true]);
  });

  it('is written anew after Redis was emptied, and has those closed that came in meanwhile beyond the limit', async () => {
    // Instances without sockets, which tell what they have when they are asked to, and not every 20 s.
    const log = createLogger('test', 'silent');
    const clients = ['commands', 'subscriber'] as const;
    const [commands, subscriber] = clients.map((use) => createRedis(stores.redis.url, use, log)) as [
      Redis,
      Redis,
    ];
    const closed: string[] = [];
    const books = [0, 1].map(
      () =>
        new ConnectionBook(commands, subscriber, 3, log, (socketId) => {
          closed.push(socketId);
          for (const book of books) book.leave(socketId);
        }),
    );
    try {
      await Promise.all([commands, subscriber].map((client) => untilReady(client, 5_000)));
      const enter = async (i: number, ...socketIds: string[]): Promise<void> => {
        for (const socketId of socketIds) await books[i]!.enter('ann', socketId);
      };
      const open = async (): Promise<string[]> =>
        (await written('ann')).map((member) => member.split(':').at(-1)!);
      await enter(0, 'a', 'b');
      await enter(1, 'c');
      await stores.redis.flush();
      await enter(1, 'd', 'e');
      expect(await open()).to.deep.equal(['d', 'e']);
      expect(closed).to.deep.equal([]);

      for (const book of books) await book.heartbeat();
      expect(closed).to.deep.equal(['a', 'b']);
      await eventually(async () => expect(await open()).to.deep.equal(['c', 'd', 'e']));
      for (const book of books) await book.heartbeat();
      expect(await open()).to.deep.equal(['c', 'd', 'e']);
      // One that leaves makes room again.
      books[1]!.leave('c');
      await eventually(async () => expect(await open()).to.deep.equal(['d', 'e']));
      await enter(0, 'f');
      expect(closed).to.deep.equal(['a', 'b']);

      // Of an instance that vanished nothing is heard: here, for more than a minute.
      for (const member of (await written('ann')).filter((one) => !one.endsWith(':f')))
        await redis.zincrby('laurel:{ann}:connections', -61_000, member);
      await enter(0, 'g', 'h');
      expect(await open()).to.deep.equal(['f', 'g', 'h']);
      expect(closed).to.deep.equal(['a', 'b']);
    } finally {
      for (const book of books) book.stop();
      await Promise.all([commands, subscriber].map(closeRedis));
    }
  });
});
