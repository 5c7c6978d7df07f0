import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { after, before } from 'mocha';
import { io } from 'socket.io-client';
import { EventSource } from 'undici';
import { LaurelClient } from '../../client/index.ts';
import { boardAt } from '../../common/board/board.ts';
import { BoardTable } from '../../common/board/board-table.ts';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { eventually } from '../support/eventually.ts';
import { Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { spawnTier, useSystem, type RunningTier } from '../support/system.ts';
import { Balancer } from './balancer.ts';

/** Somebody who watches a board, and every version of it that was shown. */
interface Viewer {
  readonly name: string;
  readonly versions: number[];
  readonly board: () => any;
  /** by the way that was chosen */
  readonly live: () => boolean;
  close(): void;
}

/** Watches with the SDK, by one way alone. */
function withSdk(transport: 'socket' | 'sse' | 'polling', api: string, realtime: string): Viewer {
  const client = new LaurelClient({
    baseUrl: api,
    realtimeUrl: realtime,
    transports: [transport],
    io: io as never,
    watch: { attempts: 1000, pollMs: 200 },
  });
  const watcher = client.watch('global');
  const versions: number[] = [];
  watcher.onChange(({ board }) => versions.push(board.version));
  return {
    name: `SDK, ${transport}`,
    versions,
    board: () => watcher.board,
    live: () => watcher.transport === transport,
    close: () => client.close(),
  };
}

/** What docs/realtime.md asks of a client, and no more. @param again asks for a snapshot, because there is a gap */
function bare(name: string, again: () => void, rest: Pick<Viewer, 'live' | 'close'>) {
  const versions: number[] = [];
  let board: any;
  const show = (next: any): void => {
    if (next.version !== board?.version) versions.push(next.version);
    board = next;
  };
  const take = (frame: any): void => {
    if (!board || frame.version <= board.version) return;
    if (frame.previousVersion !== board.version) again();
    else show({ ...board, version: frame.version, entries: frame.entries });
  };
  return { name, versions, board: () => board, show, take, ...rest };
}

function withSocket(realtime: string): Viewer {
  const socket = io(realtime, { transports: ['websocket'], forceNew: true });
  const join = (): void =>
    void socket
      .timeout(5_000)
      .emitWithAck('join:leaderboard', { leaderboard: 'global' })
      .then(
        (answer) => {
          if (answer.ok) viewer.show(answer.snapshot);
          else join();
        },
        () => undefined, // it has gone, and joins again when it is back
      );
  const viewer = bare('bare socket', join, {
    live: () => socket.connected,
    close: () => socket.disconnect(),
  });
  socket.on('connect', join);
  socket.on('leaderboard:update', viewer.take);
  return viewer;
}

function withEventSource(realtime: string): Viewer {
  let source: EventSource;
  const open = (): void => {
    source = new EventSource(`${realtime}/api/v1/leaderboards/global/stream`);
    source.addEventListener('leaderboard:snapshot', ({ data }: any) => viewer.show(JSON.parse(data)));
    source.addEventListener('leaderboard:update', ({ data }: any) => viewer.take(JSON.parse(data)));
    // Refused, rather than cut: that is for the page to try again.
    source.addEventListener(
      'error',
      () => source.readyState === EventSource.CLOSED && setTimeout(again, 500),
    );
  };
  const again = (): void => {
    if (closed) return;
    source.close();
    open();
  };
  let closed = false;
  const viewer = bare('EventSource', again, {
    live: () => source.readyState === EventSource.OPEN,
    close: () => {
      closed = true;
      source.close();
    },
  });
  open();
  return viewer;
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
    for (const way of ['socket', 'socket', 'sse', 'sse', 'polling'] as const)
      viewers.push(withSdk(way, api(), balancer.url));
    for (const watch of [withSocket, withSocket, withEventSource, withEventSource])
      viewers.push(watch(balancer.url));
    await eventually(() => {
      for (const { name, live } of viewers) expect(live(), name).to.equal(true);
    });
  });
  after(async () => {
    for (const viewer of viewers) viewer.close();
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
        for (const { name, board } of viewers) {
          const shown = board()?.entries.map(({ userId, score }: any) => `${userId} ${score}`);
          expect(shown, name).to.deep.equal(truth);
        }
      },
      { timeoutMs: 15_000, everyMs: 50 },
    );
  };

  /** Something new has reached every client since now. */
  const progress = async (): Promise<void> => {
    const seen = viewers.map(({ versions }) => versions.length);
    await eventually(
      () => {
        for (const [i, { name, versions }] of viewers.entries())
          expect(versions.length, name).to.be.above(seen[i]!);
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
    for (const { name, versions } of viewers)
      expect(versions, name).to.deep.equal([...new Set(versions)].sort((a, b) => a - b));
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
    for (const { name, live } of viewers) expect(live(), name).to.equal(true);
  });
});
