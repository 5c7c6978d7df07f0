import { ConfigError, type Config } from './config.ts';
import type { Logger } from './logger.ts';
import type { Redis } from './redis.ts';

const OVERRIDE = 'ALLOW_UNSAFE_REDIS=true lets Laurel run all the same.';

/** What of a server's own settings bears on whether it keeps what it was told. Both are undefined where nobody may ask. */
interface ServerSettings {
  readonly appendOnly: boolean | undefined;
  readonly evictionPolicy: string | undefined;
}

/** Managed servers often forbid CONFIG; what INFO says is enough. */
async function settingsOf(redis: Redis): Promise<ServerSettings> {
  const info = await redis.info('all').catch(() => '');
  const field = (name: string): string | undefined => new RegExp(`^${name}:(\\S+)`, 'm').exec(info)?.[1];
  const aof = field('aof_enabled');
  return {
    appendOnly: aof === undefined ? undefined : aof === '1',
    evictionPolicy: field('maxmemory_policy'),
  };
}

/** What of a Redis's settings puts accepted work at risk, each with what to do about it. */
export async function redisRisks(redis: Redis): Promise<string[]> {
  const { appendOnly, evictionPolicy } = await settingsOf(redis);
  return [
    ...(appendOnly === false
      ? ['Redis runs without its append-only file, so a restart loses accepted work. Set `appendonly yes`.']
      : []),
    ...(evictionPolicy !== undefined && evictionPolicy !== 'noeviction'
      ? [
          `Redis may evict keys (${evictionPolicy}), which breaks queues. Set \`maxmemory-policy noeviction\`.`,
        ]
      : []),
  ];
}

/**
 * Looks at what Redis says of itself at the start, and after every reconnection, when it may be another server.
 *
 * @returns what is at risk now, for `/readyz`
 * @throws ConfigError in production, unless ALLOW_UNSAFE_REDIS says that it is known
 */
export async function watchRedisSafety(
  redis: Redis,
  config: Pick<Config, 'NODE_ENV' | 'ALLOW_UNSAFE_REDIS'>,
  log: Logger,
): Promise<() => readonly string[]> {
  let risks: readonly string[] = await redisRisks(redis);
  if (risks.length > 0 && config.NODE_ENV === 'production' && !config.ALLOW_UNSAFE_REDIS)
    throw new ConfigError([...risks, OVERRIDE].join('\n'));
  const tell = (): void => {
    if (risks.length > 0) log.warn({ risks }, 'Redis puts accepted work at risk');
  };
  tell();
  redis.on('ready', () => {
    const before = risks.join();
    redisRisks(redis).then(
      (found) => {
        risks = found;
        if (found.join() !== before) tell();
      },
      () => undefined, // it has gone again: the next connection is looked at
    );
  });
  return () => risks;
}
