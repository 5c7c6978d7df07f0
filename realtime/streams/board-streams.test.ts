import { expect } from 'chai';
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { connect as connectTcp, type AddressInfo } from 'node:net';
import { after, before } from 'mocha';
import { BoardIndex } from '../../common/board/board-index.ts';
import { BoardReader } from '../../common/board/board-reader.ts';
import { loadConfig } from '../../common/config.ts';
import { createLogger } from '../../common/logger.ts';
import { createMetrics } from '../../common/metrics.ts';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { closeRedis, createRedis, untilReady, type Redis } from '../../common/redis.ts';
import { UserDirectory } from '../../common/users/user-directory.ts';
import { Stream } from '../../test/live/viewers.ts';
import { eventually } from '../../test/support/eventually.ts';
import { useStores } from '../../test/support/stores.ts';
import { environmentOf } from '../../test/support/system.ts';
import { BoardFeeds } from '../boards/board-feeds.ts';
import { FanOut } from '../boards/fan-out.ts';
import { ConnectionLimits } from '../connections/limits.ts';
import { BoardStreams } from './board-streams.ts';

const board = { leaderboard: 'global', period: 'all' } as const;
const fanOut = new FanOut();

describe('BoardStreams', () => {
  const stores = useStores();
  const log = createLogger('test', 'silent');
  let db: Database;
  let redis: Redis;
  let feeds: BoardFeeds;
  let streams: BoardStreams;
  let server: Server;

  before(async () => {
    const config = loadConfig(environmentOf(stores, { REALTIME_MAX_BUFFERED_BYTES: '65536' }));
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
    redis = createRedis(stores.redis.url, 'commands', log);
    await untilReady(redis, 5000);
    const index = new BoardIndex(redis);
    feeds = new BoardFeeds(
      {
        source: new BoardReader(index, db),
        index,
        directory: new UserDirectory(db, redis),
        log,
        windowMs: 100,
        broadcasts: () => true,
        stateOf: () => ({ state: 'open', closedAt: null, correctedAt: null }),
      },
      () => Promise.resolve(),
      (watched) => streams.watches(watched),
    );
    streams = new BoardStreams({
      config,
      log,
      metrics: createMetrics('test'),
      identify: () => Promise.resolve(undefined),
      limits: new ConnectionLimits(config),
      feeds,
      findBoard: (watched) => watched,
      enter: () => undefined,
      leave: () => undefined,
    });
    server = createServer((request, response) => void streams.handle(request, response));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  after(async () => {
    streams.close();
    fanOut.close();
    feeds.close();
    server.close();
    server.closeAllConnections();
    await closeRedis(redis);
    await db.destroy();
  });

  it('cuts a reader off who does not read, and nobody else', async () => {
    const { port } = server.address() as AddressInfo;
    const silent = connectTcp(port, '127.0.0.1');
    silent.on('error', () => undefined);
    silent.pause();
    await once(silent, 'connect');
    const accepted = once(server, 'request');
    silent.write('GET /api/v1/leaderboards/global/stream HTTP/1.1\r\nHost: x\r\n\r\n');
    const [, response] = (await accepted) as [unknown, ServerResponse];
    const cut = once(response, 'close');
    const reader = await Stream.open(`http://127.0.0.1:${port}`, '/leaderboards/global/stream');
    try {
      await eventually(() => expect(reader.events).to.have.length(1));
      // More than the system keeps for a connection.
      const filler = 'x'.repeat(1_000_000);
      for (let version = 1; version <= 12; version += 1) {
        await fanOut.send([streams.deliver(board, { ...frame, version, signature: filler })]);
        await eventually(() => expect(reader.events).to.have.length(version + 1));
      }
      await cut;
      await fanOut.send([streams.deliver(board, { ...frame, version: 13 })]);
      await eventually(() => expect(reader.events).to.have.length(14));
    } finally {
      silent.destroy();
      await reader.close();
    }
  });
});

const frame = {
  type: 'LEADERBOARD_REFRESH' as const,
  ...board,
  previousVersion: 0,
  timestamp: new Date(0).toISOString(),
  total: 0,
  changes: [],
  entries: [],
};
