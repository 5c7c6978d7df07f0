import type { IncomingMessage, Server as HttpServer, ServerResponse } from 'node:http';
import { ActionViews } from '../common/action-views.ts';
import { BoardIndex } from '../common/board/board-index.ts';
import { BoardReader } from '../common/board/board-reader.ts';
import { visibleBoard, type Viewer } from '../common/board/visibility.ts';
import { Catalog } from '../common/catalog.ts';
import type { Config } from '../common/config.ts';
import { EventListener } from '../common/events.ts';
import { Features } from '../common/features.ts';
import { createHealth, type Health } from '../common/health.ts';
import { currentIdentity } from '../common/identity/access.ts';
import { AccessTokens, type Identity } from '../common/identity/access-tokens.ts';
import type { Logger } from '../common/logger.ts';
import { createMetrics } from '../common/metrics.ts';
import { createDatabase } from '../common/postgres.ts';
import { closeRedis, createRedis, untilReady } from '../common/redis.ts';
import { watchRedisSafety } from '../common/redis-safety.ts';
import { schemaCheck } from '../common/schema.ts';
import { Shutdown } from '../common/shutdown.ts';
import { createTokenUsers } from '../common/users/token-users.ts';
import { UserDirectory, type UserProfile } from '../common/users/user-directory.ts';
import { BoardFeeds, type Watched } from './boards/board-feeds.ts';
import { FanOut } from './boards/fan-out.ts';
import { createSigner } from './boards/signer.ts';
import { createDoorman } from './connections/doorman.ts';
import { ConnectionLimits } from './connections/limits.ts';
import { PersonalEvents } from './personal-events.ts';
import { createSockets } from './sockets/create-sockets.ts';
import { boardRoom, spectatorRoom } from './sockets/rooms.ts';
import { BoardStreams, isStream } from './streams/board-streams.ts';

export interface Realtime {
  readonly health: Health;
  /** Answers a request for a board's event stream. @returns false when it is for something else */
  handle(request: IncomingMessage, response: ServerResponse): boolean;
  /** Serves Socket.IO on a server, beside what that server does already. */
  attach(server: HttpServer): void;
  close(): Promise<void>;
}

/** How long Redis may take to answer at the start, milliseconds. */
const START_TIMEOUT_MS = 30_000;
/** Users whose profiles are read in one round trip. */
const REVIEWED_AT_ONCE = 500;

/** The live tier: it hears what workers changed, and tells those who watch. */
export async function createRealtime(config: Config, log: Logger): Promise<Realtime> {
  const shutdown = new Shutdown(log);
  const metrics = createMetrics('realtime');
  const redisUrl = config.REDIS_URL ?? '';

  const db = createDatabase(config, 'realtime', { max: 2 });
  shutdown.defer('postgres', () => db.destroy());
  const redis = createRedis(redisUrl, 'commands', log, config.REDIS_PREFIX);
  shutdown.defer('redis', () => closeRedis(redis));
  const subscriber = createRedis(redisUrl, 'subscriber', log, config.REDIS_PREFIX);
  shutdown.defer('redis events', () => closeRedis(subscriber));
  const adapterPublisher = createRedis(redisUrl, 'subscriber', log, config.REDIS_PREFIX);
  shutdown.defer('redis adapter, sending', () => closeRedis(adapterPublisher));
  const adapterSubscriber = createRedis(redisUrl, 'subscriber', log, config.REDIS_PREFIX);
  shutdown.defer('redis adapter, hearing', () => closeRedis(adapterSubscriber));
  let risks: () => readonly string[];
  try {
    await Promise.all(
      [redis, subscriber, adapterPublisher, adapterSubscriber].map((client) =>
        untilReady(client, START_TIMEOUT_MS),
      ),
    );
    risks = await watchRedisSafety(redis, config, log);
  } catch (error) {
    await shutdown.run();
    throw error;
  }

  const events = new EventListener(subscriber, log);
  const schema = schemaCheck(db, log);
  const catalog = new Catalog(db, log);
  shutdown.defer('catalog', () => Promise.resolve(catalog.stop()));
  const features = new Features(db, log);
  shutdown.defer('features', () => Promise.resolve(features.stop()));
  const directory = new UserDirectory(db, redis);
  const index = new BoardIndex(redis);
  const frames = metrics.counter('laurel_frames_total', 'Updates sent to boards’ watchers.', [
    'leaderboard',
    'period',
  ] as const);
  const fanout = metrics.histogram(
    'laurel_fanout_seconds',
    'Time until one update was handed to all who watch a board here.',
  );
  const fanOut = new FanOut();
  shutdown.defer('frames under way', () => Promise.resolve(fanOut.close()));
  const sign = createSigner(config.BROADCAST_SIGNING_SECRETS);
  const feeds: BoardFeeds = new BoardFeeds(
    {
      source: new BoardReader(index, db),
      index,
      directory,
      log,
      windowMs: config.BROADCAST_WINDOW_MS,
      stateOf: (board) => catalog.stateOf(board),
      broadcasts: (leaderboard) => features.broadcasts(leaderboard),
    },
    async (board, frame) => {
      const stop = fanout.startTimer();
      frames.inc({ leaderboard: board.leaderboard, period: board.period });
      const sent = sign(frame);
      await fanOut.send([
        sockets.deliver(boardRoom(board), 'leaderboard:update', sent),
        streams.deliver(board, sent),
      ]);
      stop();
    },
    (board) => sockets.inhabited(boardRoom(board)) || streams.watches(board),
  );
  shutdown.defer('feeds', () => Promise.resolve(feeds.close()));

  const findBoard = ({ leaderboard, period }: Watched, viewer: Viewer): Watched | undefined =>
    visibleBoard(catalog, leaderboard, viewer)?.periods.includes(period)
      ? { leaderboard, period }
      : undefined;
  const accessTokens = new AccessTokens(config);
  const identify = createDoorman({
    config,
    accessTokens,
    tokenUsers: createTokenUsers(config, db, directory),
  });
  const limits = new ConnectionLimits(config, log);
  const shared = { config, log, metrics, identify, limits, feeds, findBoard };
  const streams: BoardStreams = new BoardStreams({
    ...shared,
    enter: (userId, id) => void sockets.book.enter(userId, id),
    leave: (id) => sockets.book.leave(id),
  });
  const sockets = createSockets({
    ...shared,
    directory,
    onBoardLeft: (board) => feeds.release(board),
    isStream,
    closeStream: (id) => streams.closeOne(id),
    redis,
    publisher: adapterPublisher,
    subscriber: adapterSubscriber,
  });
  shutdown.defer('sockets', () => sockets.close());
  // Before the sockets, which close the HTTP server: it ends with its last connection.
  shutdown.defer('streams', () => Promise.resolve(streams.close()));

  const personal = new PersonalEvents({
    sockets,
    directory,
    actions: new ActionViews(db, redis),
    log,
    mayHear: (leaderboard, viewer) => visibleBoard(catalog, leaderboard, viewer) !== undefined,
  });

  /** Ends or cuts down what a user may no longer have. */
  function review(userId: string, profile: UserProfile | undefined): void {
    if (profile && !profile.allowSpectators) {
      sockets.tell([spectatorRoom(userId)], 'spectate:ended', { userId });
      sockets.clear(spectatorRoom(userId));
    }
    // Where users are made at first sight, one that is not there yet may watch.
    const hasEnded = (identity: Identity): boolean =>
      profile
        ? profile.banned || currentIdentity(identity, profile)?.role !== identity.role
        : config.USER_PROVISIONING !== 'auto';
    sockets.closeUser(userId, profile?.banned ? 'USER_BANNED' : 'UNAUTHENTICATED', hasEnded);
    streams.closeUser(userId, hasEnded);
  }
  async function reviewAll(): Promise<void> {
    const users = [...sockets.users, ...streams.users];
    for (let i = 0; i < users.length; i += REVIEWED_AT_ONCE) {
      const profiles = await directory.findMany(users.slice(i, i + REVIEWED_AT_ONCE));
      for (const userId of users.slice(i, i + REVIEWED_AT_ONCE)) review(userId, profiles.get(userId));
    }
  }
  const lookAgain = (): void => {
    reviewAll().catch((error: unknown) => log.warn({ err: error }, 'users could not be looked at again'));
  };

  await Promise.all([
    catalog.start(events),
    features.start(events),
    directory.start(events),
    events.onBoard((event) => feeds.take(event)),
    events.onCompletions((completions) => personal.completed(completions)),
    events.onActions((actions) => {
      for (const event of actions) {
        if (event.kind === 'action') personal.acted(event);
        else void personal.ended(event);
      }
    }),
  ]);
  features.onChanged(() => feeds.unmuted());
  catalog.onRead(() => {
    sockets.reviewBoards();
    streams.reviewBoards();
  });
  await events.onChange((event) => {
    if (event.kind === 'users') {
      feeds.resync();
      lookAgain();
    }
    if (event.kind !== 'user') return;
    feeds.renamed(event.userId);
    directory.find(event.userId).then(
      (profile) => review(event.userId, profile),
      (error: unknown) => log.warn({ err: error }, 'a user’s change could not be looked at'),
    );
  });
  events.onResumed(() => {
    feeds.resync();
    lookAgain();
  });

  return {
    health: createHealth(
      metrics,
      {
        redis: async () => (await redis.ping()) === 'PONG',
        catalog: () => catalog.loaded,
        schema,
      },
      () => [...risks(), ...accessTokens.warnings],
    ),
    handle: (request, response) => streams.handle(request, response),
    attach: (server) => sockets.attach(server),
    close: () => shutdown.run(),
  };
}
