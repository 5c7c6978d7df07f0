import type { RequestListener } from 'node:http';
import { ArchiveTable } from '../common/board/archive-table.ts';
import { BoardIndex } from '../common/board/board-index.ts';
import { BoardReader } from '../common/board/board-reader.ts';
import { Catalog } from '../common/catalog.ts';
import { Clock } from '../common/clock.ts';
import type { Config } from '../common/config.ts';
import { ActionAnnouncer, EventListener } from '../common/events.ts';
import { Features } from '../common/features.ts';
import { createHealth, type Health } from '../common/health.ts';
import { AccessTokens } from '../common/identity/access-tokens.ts';
import { ActionTokens } from '../common/identity/action-tokens.ts';
import { JobSignatures } from '../common/job-signatures.ts';
import type { Logger } from '../common/logger.ts';
import { createMetrics } from '../common/metrics.ts';
import { createDatabase } from '../common/postgres.ts';
import { Queues } from '../common/queues.ts';
import { closeRedis, createRedis, untilReady } from '../common/redis.ts';
import { watchRedisSafety } from '../common/redis-safety.ts';
import { schemaCheck } from '../common/schema.ts';
import { Shutdown } from '../common/shutdown.ts';
import { createAvatarUrlSchema, createUsernameSchema } from '../common/users/names.ts';
import { reservedNames } from '../common/users/reserved-names.ts';
import { createTokenUsers } from '../common/users/token-users.ts';
import { UserDirectory } from '../common/users/user-directory.ts';
import { actionRoutes } from './actions/routes.ts';
import { Actions } from './actions/actions.ts';
import { Backlog } from './actions/backlog.ts';
import { Completions } from './actions/completions.ts';
import { auditRoutes } from './admin/audit-routes.ts';
import { bullBoard, BULL_BOARD_PATH } from './admin/bull-board.ts';
import { catalogAdminRoutes } from './admin/catalog-routes.ts';
import { correctionRoutes } from './admin/corrections.ts';
import { deadCompletionRoutes } from './admin/dead-completions.ts';
import { featureRoutes } from './admin/features-routes.ts';
import { ledgerReadRoutes } from './admin/ledger-reads.ts';
import { moderationRoutes } from './admin/moderation-routes.ts';
import { adminSession } from './admin/session.ts';
import { upkeepRoutes } from './admin/upkeep-routes.ts';
import { userReadRoutes } from './admin/user-reads.ts';
import { AdmissionControl } from './admission/admission.ts';
import { LoginLimits } from './admission/login-limits.ts';
import { openApiDocument } from './docs/openapi.ts';
import { docsPages } from './docs/pages.ts';
import { createAuthenticator } from './http/authenticate.ts';
import { createApp } from './http/create-app.ts';
import { IdempotentWrites } from './http/idempotency.ts';
import { LoopDelay } from './http/loop-delay.ts';
import { createSecurityLog } from './http/security-log.ts';
import { LoadShedder } from './http/shedding.ts';
import { identityRoutes } from './identity/routes.ts';
import { Sessions } from './identity/sessions.ts';
import { passwordRoutes } from './identity/password-routes.ts';
import { sessionRoutes } from './identity/session-routes.ts';
import { createPasswordCheck, createSignIn } from './identity/sign-in.ts';
import { Users } from './identity/users.ts';
import { Boards } from './leaderboards/boards.ts';
import { leaderboardRoutes } from './leaderboards/routes.ts';
import { webPages, type DemoPlayer } from './pages.ts';
import { Exports } from './users/exports.ts';
import { Friends } from './users/friends.ts';
import { userRoutes } from './users/routes.ts';

export interface ApiOptions {
  /** the folder of the built page; without it the tier serves no page */
  readonly webRoot?: string;
  readonly demo?: DemoPlayer;
}

export interface Api {
  /** Answers requests; the caller listens. */
  readonly handle: RequestListener;
  /** Is part of `handle`. */
  readonly health: Health;
  close(): Promise<void>;
}

const VERSION = '0.1.0';
/** How long Redis may take to answer at the start, milliseconds. */
const START_TIMEOUT_MS = 30_000;
/** Longest statement of the pool of reads, milliseconds. */
const READ_STATEMENT_MS = 2000;

/** The HTTP tier: it authenticates, validates, admits, enqueues and reads. It changes no score. */
export async function createApi(config: Config, log: Logger, options: ApiOptions = {}): Promise<Api> {
  const shutdown = new Shutdown(log);
  const metrics = createMetrics('api');
  const security = createSecurityLog(log, metrics);
  shutdown.defer('security log', () => Promise.resolve(security.stop()));
  const redisUrl = config.REDIS_URL ?? '';

  const db = createDatabase(config, 'api');
  shutdown.defer('postgres', () => db.destroy());
  // Reads that may be heavy have connections of their own: however many there are, starts and completions find theirs.
  const reads = createDatabase(config, 'api-reads', {
    statementTimeoutMs: READ_STATEMENT_MS,
    max: config.DATABASE_READ_POOL_MAX,
  });
  shutdown.defer('postgres reads', () => reads.destroy());
  const redis = createRedis(redisUrl, 'commands', log, config.REDIS_PREFIX);
  shutdown.defer('redis', () => closeRedis(redis));
  const subscriber = createRedis(redisUrl, 'subscriber', log, config.REDIS_PREFIX);
  shutdown.defer('redis events', () => closeRedis(subscriber));
  let risks: () => readonly string[];
  try {
    await Promise.all([redis, subscriber].map((client) => untilReady(client, START_TIMEOUT_MS)));
    risks = await watchRedisSafety(redis, config, log);
  } catch (error) {
    await shutdown.run();
    throw error;
  }

  const events = new EventListener(subscriber, log);
  const queues = new Queues(redis, config.QUEUE_PARTITIONS);
  shutdown.defer('queues', () => queues.close());
  const schema = schemaCheck(db, log);
  const catalog = new Catalog(db, log);
  shutdown.defer('catalog', () => Promise.resolve(catalog.stop()));
  const features = new Features(db, log);
  shutdown.defer('features', () => Promise.resolve(features.stop()));
  const directory = new UserDirectory(db, redis);
  const fallbacks = metrics.counter(
    'laurel_board_fallback_reads_total',
    'Reads that Postgres answered because Redis could not.',
  );
  const boards = new Boards(
    new BoardReader(new BoardIndex(redis), reads, () => fallbacks.inc()),
    new ArchiveTable(reads),
    directory,
    catalog,
  );
  const friends = new Friends(db, reads);
  const admission = new AdmissionControl(redis, config);
  const actions = new Actions(db, redis, reads);
  const signatures = new JobSignatures(config.ACTION_TOKEN_SECRETS);
  const completions = new Completions({ admission, queues, actions, signatures, log });
  metrics.gauge('laurel_completions_waiting', 'Completions that wait for a worker’s reply.', [], (gauge) =>
    gauge.set(completions.waiting),
  );
  const loopDelay = new LoopDelay();
  shutdown.defer('loop delay', () => Promise.resolve(loopDelay.stop()));
  const backlog = new Backlog(queues, log);
  shutdown.defer('backlog', () => Promise.resolve(backlog.stop()));
  const shedder = new LoadShedder({
    config,
    log,
    metrics,
    signals: {
      loopDelayMs: () => loopDelay.ms,
      waiting: () => completions.waiting,
      backlogMs: () => backlog.ms,
    },
  });
  shutdown.defer('shedding', () => Promise.resolve(shedder.close()));

  const clock = new Clock(redis, log);
  shutdown.defer('clock', () => Promise.resolve(clock.stop()));
  metrics.gauge(
    'laurel_clock_skew_seconds',
    'How far this process’s clock is ahead of Redis’s, which stamps starts and completions.',
    [],
    (gauge) => gauge.set(clock.skewSeconds),
  );
  const accessTokens = new AccessTokens(config);
  const tokenUsers = createTokenUsers(config, db, directory);
  const users = new Users(db, directory, reservedNames(config.ADMIN_USERNAME));
  const usernames = createUsernameSchema(config.USERNAME_EMOJI);
  const sessions = new Sessions({
    db,
    accessTokens,
    directory,
    signingSecrets: config.ACTION_TOKEN_SECRETS,
    refreshTtlSeconds: config.REFRESH_TTL_SECONDS,
  });
  const loginLimits = new LoginLimits(redis, admission);
  const signIn = createSignIn({ users, directory, limits: loginLimits });
  const checkPassword = createPasswordCheck({ users, limits: loginLimits });

  await Promise.all([
    catalog.start(events),
    features.start(events),
    directory.start(events),
    boards.start(events),
    completions.start(events),
    clock.start(),
    ...(config.SHED_BACKLOG_MS > 0 ? [backlog.start()] : []),
  ]);
  if (config.SHED_LOOP_DELAY_MS > 0) loopDelay.start();

  const routes = [
    ...identityRoutes({ users, sessions, signIn, admission, usernames }),
    ...sessionRoutes({ sessions, admission }),
    ...passwordRoutes({ db, directory, users, sessions, checkPassword, admission }),
    ...actionRoutes({
      actions,
      completions,
      admission,
      actionTokens: new ActionTokens(config.ACTION_TOKEN_SECRETS),
      sessions,
      catalog,
      features,
      announcer: new ActionAnnouncer(redis),
      clock,
      tokenTtlSeconds: config.ACTION_TOKEN_TTL_SECONDS,
      waitMs: config.COMPLETE_WAIT_MS,
    }),
    ...leaderboardRoutes({ boards, catalog, directory, friends, publicReads: config.PUBLIC_READS }),
    ...featureRoutes({ db, redis }),
    ...userRoutes({
      db,
      reads,
      exports: new Exports({ db: reads, redis, config }),
      directory,
      users,
      friends,
      catalog,
      queues,
      admission,
      usernames,
      checkPassword,
      sessions,
      avatarUrls: createAvatarUrlSchema(config.AVATAR_HOSTS),
      log,
    }),
    ...catalogAdminRoutes({ db, redis, catalog }),
    ...moderationRoutes({ directory }),
    ...correctionRoutes({ db, completions, log }),
    ...userReadRoutes({ db }),
    ...ledgerReadRoutes({ db }),
    ...auditRoutes({ db }),
    ...upkeepRoutes({ db, redis, queues, catalog }),
    ...deadCompletionRoutes({ db, queues, signatures }),
  ];
  const operators = adminSession({
    accessTokens,
    tokenUsers,
    sessions,
    signIn,
    security,
    secureCookies: config.NODE_ENV === 'production',
    behindProxy: config.TRUSTED_PROXIES > 0,
    inside: bullBoard({ queues, db, security }),
    home: BULL_BOARD_PATH,
  });
  const answer = createApp({
    config,
    log,
    metrics,
    admission,
    security,
    shedder,
    writes: new IdempotentWrites(db),
    routes,
    authenticate: createAuthenticator({
      sessions,
      accessTokens,
      tokenUsers,
      publicReads: config.PUBLIC_READS,
    }),
    pages: [
      operators,
      ...docsPages(openApiDocument(routes, VERSION)),
      ...(options.webRoot === undefined ? [] : webPages(options.webRoot, options.demo)),
    ],
  });
  const health = createHealth(
    metrics,
    {
      postgres: async () => (await db.raw('select 1'), true),
      redis: async () => (await redis.ping()) === 'PONG',
      catalog: () => catalog.loaded,
      schema,
    },
    () => [...clock.warnings, ...risks(), ...accessTokens.warnings],
  );
  return {
    health,
    handle: (request, response) => {
      if (!health.handle(request, response)) answer(request, response);
    },
    close: () => shutdown.run(),
  };
}
