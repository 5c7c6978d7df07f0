import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { after, before } from 'mocha';
import { io } from 'socket.io-client';
import { LaurelClient, type BoardUpdate, type BoardWatcher, type TransportName } from '../../client/index.ts';
import { boardAt } from '../../common/board/board.ts';
import { BoardTable } from '../../common/board/board-table.ts';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { eventually } from '../support/eventually.ts';
import { Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { spawnTier, useSystem, type RunningTier } from '../support/system.ts';
import { Balancer } from './balancer.ts';

interface Viewer {
  readonly transport: TransportName;
  readonly client: LaurelClient;
  readonly watcher: BoardWatcher;
  readonly updates: BoardUpdate[];
}

describe('live clients through faults', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores);
  const api = (): string => system.api[0]!.url;
  const realtime: RunningTier[] = [];
  const viewers: Viewer[] = [];
  let balancer: Balancer;
  let db: Database;
  let players: Player[];

  before(async () => {
    realtime.push(...(await Promise.all([0, 1].map(() => spawnTier('realtime', stores)))));
    balancer = await Balancer.start(realtime.map(({ url }) => url));
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'truth');
    players = await Promise.all(Array.from({ length: 12 }, () => Player.join(api())));
    // Two of each kind, so that both instances have some.
    for (const transport of ['socket', 'socket', 'sse', 'sse', 'polling'] as const) {
      const client = new LaurelClient({
        baseUrl: api(),
        realtimeUrl: balancer.url,
        transports: [transport],
        io: io as never,
        watch: { attempts: 1000, pollMs: 200 },
      });
      const watcher = client.watch('global');
      const updates: BoardUpdate[] = [];
      watcher.onChange((update) => updates.push(update));
      viewers.push({ transport, client, watcher, updates });
    }
    await eventually(() => {
      for (const { watcher, transport } of viewers) expect(watcher.transport).to.equal(transport);
    });
  });
  after(async () => {
    for (const { client } of viewers) client.close();
    await balancer.stop();
    await Promise.all(realtime.map((tier) => tier.stop()));
    await db.destroy();
  });

  /** Everybody plays, whatever comes of it, until told to stop. */
  const traffic = () => {
    let on = true;
    const lines = players.map(async (player) => {
      while (on) {
        await player.play(api(), 'COMPLETE_TASK', 'game1').catch(() => undefined);
        await delay(30);
      }
    });
    return async (): Promise<void> => {
      on = false;
      await Promise.all(lines);
    };
  };

  /** Every client ends with the board as Postgres has it, without having done anything. */
  const converges = async (): Promise<void> => {
    await eventually(
      async () => {
        const { entries } = await new BoardTable(db).page(boardAt('global', 'all', 0), 0, 10);
        expect(entries).not.to.be.empty;
        const truth = entries.map(({ userId, score }) => `${userId} ${score}`);
        for (const { watcher, transport } of viewers) {
          const shown = watcher.board?.entries.map(({ userId, score }) => `${userId} ${score}`);
          expect(shown, transport).to.deep.equal(truth);
        }
      },
      { timeoutMs: 15_000, everyMs: 50 },
    );
  };

  /** Something new has reached every client since now. */
  const progress = async (): Promise<void> => {
    const seen = viewers.map(({ updates }) => updates.length);
    await eventually(
      () => {
        for (const [i, { updates, transport }] of viewers.entries())
          expect(updates.length, transport).to.be.above(seen[i]!);
      },
      { timeoutMs: 20_000 },
    );
  };

  /** Does something to the stores in the midst of traffic, which goes on until it reaches everybody again. */
  const through = async (fault: () => Promise<void>): Promise<void> => {
    const stop = traffic();
    try {
      await progress();
      await fault();
      await progress();
    } finally {
      await stop();
    }
    await converges();
  };

  it('end with the true board after plain traffic, each step on top of the one before', async () => {
    await through(progress);
    for (const { updates, transport } of viewers) {
      const versions = updates.map(({ board }) => board.version);
      expect(versions, transport).to.deep.equal([...new Set(versions)].sort((a, b) => a - b));
    }
  });

  it('after Redis was restarted', () => through(() => stores.redis.restart()));

  it('after Redis was killed', () =>
    through(async () => {
      await stores.redis.kill9();
      await stores.redis.restart();
    }));

  it('after Redis was frozen for 5 s', () =>
    through(async () => {
      stores.redis.freeze();
      await delay(5_000);
      stores.redis.thaw();
    }));

  it('after Redis was emptied', () => through(() => stores.redis.flush()));

  it('after their subscriptions were cut', () =>
    through(async () => {
      const redis = new Redis(stores.redis.url);
      await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await redis.quit();
    }));

  it('after one of the instances was killed: its clients move to the other', async () => {
    await through(async () => {
      realtime[0]!.process!.kill('SIGKILL');
      await eventually(() => expect(realtime[0]!.process!.signalCode).to.equal('SIGKILL'));
    });
    for (const { watcher, transport } of viewers) expect(watcher.transport).to.equal(transport);
  });
});
