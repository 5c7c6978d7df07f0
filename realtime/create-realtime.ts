import type { Server as HttpServer } from 'node:http';
import { BoardIndex } from '../common/board/board-index.ts';
import { BoardReader } from '../common/board/board-reader.ts';
import { BoardTable } from '../common/board/board-table.ts';
import { Catalog } from '../common/catalog.ts';
import type { Config } from '../common/config.ts';
import { EventListener } from '../common/events.ts';
import { createHealth, type Health } from '../common/health.ts';
import { AccessTokens } from '../common/identity/access-tokens.ts';
import type { Logger } from '../common/logger.ts';
import { createMetrics } from '../common/metrics.ts';
import { createDatabase } from '../common/postgres.ts';
import { closeRedis, createRedis, untilReady } from '../common/redis.ts';
import { Shutdown } from '../common/shutdown.ts';
import { UserDirectory } from '../common/users/user-directory.ts';
import { BoardFeeds } from './boards/board-feeds.ts';
import { boardRoom, createSockets } from './sockets/create-sockets.ts';

export interface Realtime {
  readonly health: Health;
  /** Serves Socket.IO on a server, beside what that server does already. */
  attach(server: HttpServer): void;
  close(): Promise<void>;
}

/** How long Redis may take to answer at the start, milliseconds. */
const START_TIMEOUT_MS = 30_000;

/** The live tier: it hears what workers changed, and tells those who watch. */
export async function createRealtime(config: Config, log: Logger): Promise<Realtime> {
  const shutdown = new Shutdown(log);
  const metrics = createMetrics('realtime');
  const redisUrl = config.REDIS_URL ?? '';

  const db = createDatabase(config, 'realtime', { max: 2 });
  shutdown.defer('postgres', () => db.destroy());
  const redis = createRedis(redisUrl, 'commands', log);
  shutdown.defer('redis', () => closeRedis(redis));
  const subscriber = createRedis(redisUrl, 'subscriber', log);
  shutdown.defer('redis events', () => closeRedis(subscriber));
  const adapterPublisher = createRedis(redisUrl, 'subscriber', log);
  shutdown.defer('redis adapter, sending', () => closeRedis(adapterPublisher));
  const adapterSubscriber = createRedis(redisUrl, 'subscriber', log);
  shutdown.defer('redis adapter, hearing', () => closeRedis(adapterSubscriber));
  try {
    await Promise.all(
      [redis, subscriber, adapterPublisher, adapterSubscriber].map((client) =>
        untilReady(client, START_TIMEOUT_MS),
      ),
    );
  } catch (error) {
    await shutdown.run();
    throw error;
  }

  const events = new EventListener(subscriber, log);
  const catalog = new Catalog(db, log);
  shutdown.defer('catalog', () => Promise.resolve(catalog.stop()));
  const directory = new UserDirectory(db, redis);
  const frames = metrics.counter('laurel_frames_total', 'Updates sent to boards’ rooms.', [
    'leaderboard',
    'period',
  ] as const);
  const feeds = new BoardFeeds(
    {
      source: new BoardReader(new BoardIndex(redis), new BoardTable(db)),
      directory,
      log,
      windowMs: config.BROADCAST_WINDOW_MS,
    },
    (board, frame) => {
      frames.inc({ leaderboard: board.leaderboard, period: board.period });
      sockets.io.local.to(boardRoom(board)).emit('leaderboard:update', frame);
    },
  );
  shutdown.defer('feeds', () => Promise.resolve(feeds.close()));
  const sockets = createSockets({
    config,
    log,
    metrics,
    accessTokens: new AccessTokens(config),
    directory,
    catalog,
    feeds,
    publisher: adapterPublisher,
    subscriber: adapterSubscriber,
  });
  shutdown.defer('sockets', async () => {
    sockets.io.disconnectSockets(true);
    await new Promise<void>((resolve) => void sockets.io.close(() => resolve()));
  });

  await Promise.all([
    catalog.start(events),
    directory.start(events),
    events.onBoard((event) => feeds.take(event)),
    events.onCompletions((completions) => {
      for (const completion of completions) {
        if (!sockets.hasListeners(completion.userId)) continue;
        void directory
          .find(completion.userId)
          .then((profile) => sockets.announceCompletion(completion, profile?.username ?? completion.userId))
          .catch((error: unknown) => log.warn({ err: error }, 'a score update was not sent'));
      }
    }),
  ]);
  await events.onChange((event) => {
    if (event.kind !== 'user') return;
    void directory.find(event.userId).then(
      (profile) => {
        if (!profile || profile.banned || profile.erased) sockets.disconnectUser(event.userId);
      },
      () => undefined,
    );
  });
  events.onResumed(() => feeds.resync());

  return {
    health: createHealth(metrics, {
      redis: async () => (await redis.ping()) === 'PONG',
      catalog: () => catalog.loaded,
    }),
    attach: (server) => void sockets.io.attach(server),
    close: () => shutdown.run(),
  };
}
