import Joi from 'joi';
import { ConfigError } from './config-error.ts';
import { normalizeOrigin } from './origins.ts';
import { parsePostgresAddress } from './postgres-address.ts';
import { passwordSchema } from './identity/password-rule.ts';
import { DEFAULT_REDIS_PREFIX } from './redis-names.ts';
import { createUsernameSchema, normalizeUsername } from './users/names.ts';
import { wording } from './wording.ts';

/** One environment variable: how it is read, what it means. The table below is the documentation's source. */
export interface Variable<T> {
  readonly doc: string;
  readonly schema: Joi.Schema;
  /** Carries the type of the parsed value; never set. */
  readonly type?: T;
}

const lists = Joi.extend((joi: Joi.Root) => ({
  type: 'list',
  base: joi.array().items(joi.string().trim().min(1)),
  coerce: {
    from: 'string' as const,
    method: (value: string) => ({ value: value === '' ? [] : value.split(',') }),
  },
})) as Joi.Root & { list(): Joi.ArraySchema };

const text = (doc: string, fallback: string): Variable<string> => ({
  doc,
  schema: Joi.string().default(fallback),
});
const optionalText = (doc: string): Variable<string | undefined> => ({ doc, schema: Joi.string().empty('') });
const url = (doc: string, schemes: string[]): Variable<string | undefined> => ({
  doc,
  schema: Joi.string()
    .uri({ scheme: schemes })
    .empty('')
    .messages({ 'string.uriCustomScheme': `must begin with ${schemes.map((s) => `${s}://`).join(' or ')}` }),
});
const postgresUrl = (doc: string): Variable<string | undefined> => ({
  doc,
  schema: Joi.string()
    .empty('')
    .custom((value: string, helpers) => {
      try {
        parsePostgresAddress(value);
        return value;
      } catch (error) {
        const reason = (error as Error).message.replace(/^DATABASE_URL /, '').replace(/\.$/, '');
        return helpers.message({ custom: reason });
      }
    }),
});
const int = (doc: string, fallback: number, min: number, max: number): Variable<number> => ({
  doc,
  schema: Joi.number().integer().min(min).max(max).default(fallback),
});
const flag = (doc: string, fallback: boolean): Variable<boolean> => ({
  doc,
  schema: Joi.boolean().default(fallback),
});
const oneOf = <const T extends string>(doc: string, fallback: T, allowed: readonly T[]): Variable<T> => ({
  doc,
  schema: Joi.string()
    .valid(...allowed)
    .default(fallback),
});
const list = (doc: string): Variable<string[]> => ({ doc, schema: lists.list().default([]) });
const originList = (doc: string): Variable<string[]> => ({
  doc,
  schema: lists
    .list()
    .default([])
    .custom((values: string[], helpers) => {
      try {
        return values.map(normalizeOrigin);
      } catch (error) {
        return helpers.message({ custom: (error as Error).message });
      }
    }),
});
const limit = (doc: string, fallback: number): Variable<number> =>
  int(`${doc} Sliding window of 60 s; 0 switches it off.`, fallback, 0, 1_000_000);

/** Every variable that Laurel reads, in the order in which the documentation lists them. */
export const variables = {
  NODE_ENV: oneOf('`production` refuses missing, default and short secrets.', 'development', [
    'development',
    'test',
    'production',
  ]),
  PORT: int('Port of the API tier, and of everything in `npm start`. 0 takes a free one.', 3000, 0, 65535),
  REALTIME_PORT: int('Port of the realtime tier when it runs as a process of its own.', 3001, 0, 65535),
  WORKERS_PORT: int(
    'Port of the workers’ health and metrics when they run as a process of their own.',
    3002,
    0,
    65535,
  ),
  HOST: text('Address to listen on. `npm start` listens on 127.0.0.1 unless this is set.', '0.0.0.0'),
  KEEP_ALIVE_SECONDS: int(
    'How long an idle connection of HTTP stays open, seconds: longer than the proxy in front keeps its own (an AWS ALB: 60), or it sends requests into connections that close.',
    65,
    1,
    3600,
  ),
  DATABASE_URL: postgresUrl(
    'PostgreSQL, 14 or newer, in libpq’s forms (`?host=/folder`, several hosts, `sslmode`, `sslrootcert`); a pooler may stand in front. `npm start` brings its own when this is not set.',
  ),
  MIGRATE_DATABASE_URL: postgresUrl(
    'The same database for `laurel migrate`, as the role that owns the tables, when the tiers run as another; see `DATABASE_APP_ROLE`. Not set: DATABASE_URL.',
  ),
  DATABASE_APP_ROLE: optionalText(
    'The role under which the tiers connect, as in DATABASE_URL, when it is not the owner of the tables: `laurel migrate` grants it what they need. It can neither change the schema nor entries of the ledger.',
  ),
  DATABASE_POOL_MAX: int('Most Postgres connections that one process opens.', 10, 2, 200),
  DATABASE_READ_POOL_MAX: int(
    'Most Postgres connections that an API process opens, apart from these, for reads that need Postgres (history, lists, archives, exports).',
    4,
    1,
    100,
  ),
  REDIS_URL: url(
    'Redis 7 (or Valkey), append-only file on. `npm start` brings its own when this is not set.',
    ['redis', 'rediss'],
  ),
  REDIS_PREFIX: {
    doc: 'What every key, queue and channel in Redis begins with. Installations on one Redis server need different ones, even in databases of their own: channels know no databases. The same on every process.',
    schema: Joi.string()
      .pattern(/^[A-Za-z0-9_.-]{1,40}$/, '1 to 40 letters, digits, `_`, `-` or `.`')
      .default(DEFAULT_REDIS_PREFIX),
  } as Variable<string>,
  ALLOW_UNSAFE_REDIS: flag(
    'Lets Laurel run in production on a Redis without an append-only file, or one that may evict keys: accepted work can be lost then.',
    false,
  ),
  DATA_DIR: text('Where `npm start` keeps its stores and secrets.', '.data'),
  JWT_SECRETS: list(
    'Secrets of access tokens, newest first; the first signs, all verify. At least 32 bytes each.',
  ),
  JWT_JWKS_URL: url(
    'Public keys of an outside identity service. Its tokens (RS256, ES256, EdDSA, …) are accepted too. In production https (http to this host only), with JWT_ISSUER or JWT_AUDIENCE.',
    ['http', 'https'],
  ),
  JWT_ISSUER: optionalText('When set, outside tokens must carry this `iss`, and our own are issued with it.'),
  JWT_AUDIENCE: optionalText(
    'When set, outside tokens must carry this `aud`, and our own are issued with it.',
  ),
  JWT_ROLE_CLAIM: text(
    'The claim of outside tokens that holds the role: a name, or a path with dots as `realm_access.roles` (then a list of roles will do).',
    'role',
  ),
  JWT_USERNAME_CLAIM: text(
    'The claim of outside tokens that holds the user name, as `preferred_username`; one that cannot be used is ignored.',
    'username',
  ),
  JWT_TRUST_ADMIN_ROLE: flag(
    'Whether the role `admin` of an outside token counts; else its user is a player.',
    false,
  ),
  JWT_OUTSIDE_TTL_SECONDS: int(
    'How long an outside token is good at most after its `iat`, seconds, whatever its `exp`.',
    86_400,
    60,
    2_592_000,
  ),
  JWT_TTL_SECONDS: int('Lifetime of an access token, seconds.', 3600, 10, 3600),
  REFRESH_TTL_SECONDS: int(
    'Lifetime of a refresh token, seconds; each refresh starts it anew.',
    2_592_000,
    60,
    31_536_000,
  ),
  ACTION_TOKEN_SECRETS: list(
    'Secrets of action tokens, newest first. Not the same as `JWT_SECRETS`. At least 32 bytes each.',
  ),
  ACTION_TOKEN_TTL_SECONDS: int('Time to complete an action, seconds.', 300, 1, 300),
  RATE_LIMIT_COMPLETE_PER_MINUTE: limit('Completions a user.', 10),
  RATE_LIMIT_START_PER_MINUTE: limit('Starts a user.', 60),
  RATE_LIMIT_READ_PER_MINUTE: limit('Reads a user.', 120),
  RATE_LIMIT_CANCEL_PER_MINUTE: limit('Cancelled actions a user: a cancelled action frees its place.', 20),
  RATE_LIMIT_EXPORTS_PER_DAY: int(
    'Exports of personal data a user in 24 hours; one at a time in any case. 0 switches it off.',
    10,
    0,
    1_000_000,
  ),
  RATE_LIMIT_IP_PER_MINUTE: limit(
    'Writes an IP, all users together; register included. Reads without a token, apart from these. 0 also switches off the limit of failed logins an IP.',
    300,
  ),
  RATE_LIMIT_GLOBAL_PER_SECOND: int(
    'Ceiling of admitted writes a second over all API processes (token bucket, two seconds deep); 0 switches it off.',
    0,
    0,
    10_000_000,
  ),
  RATE_LIMIT_BLOCK_AFTER: int(
    'Refusals within a minute that block the user or IP for a minute, then two, … up to an hour; 0 = never.',
    60,
    0,
    1_000_000,
  ),
  MAX_OPEN_ACTIONS: int('Actions a user may have started and not ended.', 20, 1, 10_000),
  SHED_REQUESTS: int(
    'Requests under way in an API process, those that wait for a worker not counted, from which on it sheds load (503) if that lasts for 1.5 s: anonymous board reads from here, other reads and starts from 1.5 times, completions from 6 times as many. 0 = never.',
    150,
    0,
    1_000_000,
  ),
  SHED_LOOP_DELAY_MS: int(
    'Lasting delay of an API process’s event loop from which on it sheds load, in the same order, milliseconds; 0 = never.',
    500,
    0,
    60_000,
  ),
  SHED_BACKLOG_MS: int(
    'How long completions may wait in line for a worker before new starts are shed, milliseconds; at twice that all of them are, and client-signed completions begin to be. 0 = never.',
    1000,
    0,
    3_600_000,
  ),
  TRUSTED_PROXIES: int(
    'How many proxies stand in front; the client’s IP is taken that many hops from the right of `X-Forwarded-For`.',
    0,
    0,
    10,
  ),
  COMPLETE_WAIT_MS: int(
    'How long `complete` waits for the result before it answers 202, milliseconds.',
    2000,
    0,
    30_000,
  ),
  QUEUE_PARTITIONS: int(
    'Partitions of the completion queue; the same on every process. Drain the queues before changing it.',
    8,
    1,
    256,
  ),
  COMPLETION_BATCH_MAX: int('Most completions that a partition brings into one transaction.', 100, 1, 1000),
  ADMIN_USERNAME: text(
    'The administrator made by `npm start` and `laurel seed`. By the rules of registration.',
    'admin',
  ),
  ADMIN_PASSWORD: optionalText(
    'The administrator’s password, 8 to 200 characters; in production 12 at least. `npm start` makes and prints one when it is not set.',
  ),
  CORS_ORIGINS: originList(
    'Origins of web pages that may call the API and open sockets, such as `https://game.example`; the service’s own origin always may. `http://localhost:*` is any port of one’s machine.',
  ),
  AVATAR_HOSTS: {
    doc: 'Hosts on which avatars may be, as `cdn.example.com`. Not set: anywhere, and a player on a board can learn the addresses of those who look at it.',
    schema: lists
      .list()
      .default([])
      .custom((hosts: string[], helpers) =>
        hosts.every((host) => /^[a-z0-9.-]+(:\d+)?$/i.test(host))
          ? hosts
          : helpers.message({ custom: 'must be host names, without https:// and without a path' }),
      ),
  } as Variable<string[]>,
  PUBLIC_READS: flag('Boards may be read and watched without a token.', true),
  USER_PROVISIONING: oneOf('`auto` creates a user at the first sight of an outside token’s `sub`.', 'off', [
    'off',
    'auto',
  ]),
  USERNAME_EMOJI: flag('User names may have emoji.', false),
  BROADCAST_WINDOW_MS: int(
    'After an update of a board, changes within this time are sent as one, milliseconds.',
    100,
    10,
    10_000,
  ),
  BROADCAST_SIGNING_SECRETS: list(
    'When set, every update carries an HMAC `signature` and the `keyId` of the first. Newest first, at least 32 bytes each.',
  ),
  REALTIME_MAX_CONNECTIONS: int(
    'Sockets and event streams that one realtime process keeps open.',
    20_000,
    1,
    1_000_000,
  ),
  REALTIME_MAX_CONNECTIONS_PER_IP: int(
    'Sockets and event streams an IP (IPv6: a /64) may have open at one realtime process; one’s own machine is not counted. 0 = no limit.',
    1000,
    0,
    1_000_000,
  ),
  REALTIME_MAX_CONNECTIONS_PER_USER: int(
    'Sockets a user may have open, over all realtime processes; the oldest is closed for a new one. 0 = no limit.',
    3,
    0,
    1000,
  ),
  REALTIME_CONNECTS_PER_SECOND: int(
    'Connections that one realtime process lets in a second; more wait for up to 2 s, and are refused with a hint when to come again. 0 = no limit.',
    1000,
    0,
    1_000_000,
  ),
  REALTIME_MAX_BUFFERED_BYTES: int(
    'Unsent data of one connection, bytes; a slower reader is cut off, and starts again with a snapshot.',
    262_144,
    16_384,
    16_777_216,
  ),
  REALTIME_STREAM_HEARTBEAT_SECONDS: int(
    'How often an event stream carries a comment, seconds: sooner than proxies in front give up a silent connection.',
    15,
    1,
    55,
  ),
  RECONCILE_EVERY_SECONDS: int('How often Redis is compared with Postgres, seconds.', 300, 5, 86_400),
  ARCHIVED_PLACES: int('Places of a closed period that are kept for ever; 0 keeps all.', 1000, 0, 10_000_000),
  PRIVACY_RETENTION_DAYS: int(
    'How long IP addresses and user agents of actions are kept, days.',
    90,
    1,
    3650,
  ),
  LOG_LEVEL: oneOf('Least severe level that is logged.', 'info', [
    'fatal',
    'error',
    'warn',
    'info',
    'debug',
    'trace',
    'silent',
  ]),
} satisfies Record<string, Variable<unknown>>;

type Variables = typeof variables;
type Value<V> = V extends Variable<infer T> ? T : never;
/** Laurel's settings: one frozen value per variable of {@link variables}. */
export type Config = { readonly [K in keyof Variables]: Value<Variables[K]> };

export { ConfigError };

/** What production must name; a command that does not use all of it asks for less. */
const requiredInProduction = ['DATABASE_URL', 'REDIS_URL', 'JWT_SECRETS', 'ACTION_TOKEN_SECRETS'] as const;
export type Required = (typeof requiredInProduction)[number];

const MIN_SECRET_BYTES = 32;

/** Settings that somebody may expect to work, and that would do nothing. */
const notSupported = {
  REDIS_CLUSTER_NODES:
    'Laurel runs on one Redis, or behind an address that always leads to the primary: REDIS_URL.',
  DATABASE_REPLICA_URL: 'Reads come from Redis, and from the database of DATABASE_URL.',
};

/** What of an environment does nothing, and is no reason to refuse it: platforms set such variables for everybody. */
export const settingWarnings = (env: NodeJS.ProcessEnv): string[] =>
  env['OTEL_EXPORTER_OTLP_ENDPOINT']
    ? ['OTEL_EXPORTER_OTLP_ENDPOINT does nothing: this version sends no traces. Metrics are at /metrics.']
    : [];

/**
 * Reads the settings from an environment. Pure: no I/O, nothing kept.
 *
 * @param required which of the variables that production needs must be there
 * @throws {@link ConfigError} when a variable has a value that is not allowed; secret values are never repeated.
 */
export function loadConfig(
  env: NodeJS.ProcessEnv,
  required: readonly Required[] = requiredInProduction,
): Config {
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, { schema }] of Object.entries<Variable<unknown>>(variables)) {
    const { value, error } = (schema as Joi.Schema).validate(
      env[name] === '' ? undefined : env[name],
      wording,
    ) as { value: unknown; error?: Joi.ValidationError };
    if (error) problems.push(`${name} ${error.message}. ${variables[name as keyof Variables].doc}`);
    else values[name] = value;
  }
  for (const [name, instead] of Object.entries(notSupported))
    if (env[name]) problems.push(`${name} is not supported by this version: take it out. ${instead}`);
  const config = values as unknown as Config;
  if (problems.length === 0)
    problems.push(...administratorProblems(config), ...secretProblems(config, required));
  if (problems.length > 0) {
    throw new ConfigError(`These settings are wrong:\n${problems.map((p) => `  - ${p}`).join('\n')}`);
  }
  return Object.freeze({ ...config, ADMIN_USERNAME: normalizeUsername(config.ADMIN_USERNAME) });
}

const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/;

/** Keys that come over an open line, and tokens that were made for others, are anybody's. */
function keySetProblems({ JWT_JWKS_URL, JWT_ISSUER, JWT_AUDIENCE }: Config): string[] {
  if (JWT_JWKS_URL === undefined) return [];
  const { protocol, hostname } = new URL(JWT_JWKS_URL);
  return [
    ...(protocol === 'http:' && !loopback.test(hostname)
      ? ['JWT_JWKS_URL must be an https address in production: keys that come over http are anybody’s.']
      : []),
    ...(JWT_ISSUER === undefined && JWT_AUDIENCE === undefined
      ? [
          'JWT_JWKS_URL needs JWT_ISSUER or JWT_AUDIENCE in production, or tokens made for others are good here.',
        ]
      : []),
  ];
}

/** What registration refuses would make an account that cannot sign in, or whose name no page can show. */
function administratorProblems({ ADMIN_USERNAME, ADMIN_PASSWORD, USERNAME_EMOJI }: Config): string[] {
  const name = createUsernameSchema(USERNAME_EMOJI).validate(ADMIN_USERNAME, wording);
  const password = passwordSchema.validate(ADMIN_PASSWORD, wording);
  return [
    name.error ? [`ADMIN_USERNAME ${name.error.message}, as in registration.`] : [],
    password.error ? [`ADMIN_PASSWORD ${password.error.message}, as in registration.`] : [],
  ].flat();
}

function secretProblems(config: Config, required: readonly Required[]): string[] {
  const problems: string[] = [];
  const production = config.NODE_ENV === 'production';
  for (const name of ['JWT_SECRETS', 'ACTION_TOKEN_SECRETS', 'BROADCAST_SIGNING_SECRETS'] as const) {
    const secrets = config[name];
    if (secrets.length === 0 && production && required.some((one) => one === name)) {
      problems.push(`${name} is required in production. Make one with: openssl rand -base64 48`);
    }
    if (secrets.some((secret) => Buffer.byteLength(secret) < MIN_SECRET_BYTES)) {
      problems.push(
        `${name} must hold secrets of at least ${MIN_SECRET_BYTES} bytes each. Make one with: openssl rand -base64 48`,
      );
    }
    if (
      production &&
      secrets.some(
        (secret) => new Set(secret).size < 8 || /change.?me|laurel-demo|default.secret/i.test(secret),
      )
    ) {
      problems.push(`${name} looks like a default or a guess. Make one with: openssl rand -base64 48`);
    }
  }
  if (config.JWT_SECRETS.some((secret) => config.ACTION_TOKEN_SECRETS.includes(secret))) {
    problems.push(
      'ACTION_TOKEN_SECRETS must not share a secret with JWT_SECRETS, or one leak would open both.',
    );
  }
  if (production) problems.push(...keySetProblems(config));
  if (production) {
    for (const name of ['DATABASE_URL', 'REDIS_URL'] as const) {
      if (config[name] === undefined && required.includes(name))
        problems.push(`${name} is required in production. ${variables[name].doc}`);
    }
    if (config.ADMIN_PASSWORD !== undefined && config.ADMIN_PASSWORD.length < 12) {
      problems.push('ADMIN_PASSWORD must have at least 12 characters in production.');
    }
  }
  return problems;
}
