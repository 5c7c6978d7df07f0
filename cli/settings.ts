import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError, loadConfig, type Config } from '../common/config.ts';

type Store = 'DATABASE_URL' | 'REDIS_URL';
/** Settings with the addresses of the stores that a command uses. */
export type Settings<S extends Store> = Config & Readonly<Record<S, string>>;

/**
 * The settings of the environment. A store that they do not name is that of the `npm start` which runs on DATA_DIR: it
 * keeps `endpoints.json` there for as long as it runs.
 *
 * @param stores those that the command uses; the others need not be named
 * @throws ConfigError when a variable is wrong, or one of the stores is neither named nor running
 */
export function readSettings<S extends Store>(env: NodeJS.ProcessEnv, ...stores: readonly S[]): Settings<S> {
  const config = loadConfig(env, []);
  const running = readEndpoints(config.DATA_DIR);
  const addresses = {
    DATABASE_URL: config.DATABASE_URL ?? running?.databaseUrl,
    REDIS_URL: config.REDIS_URL ?? running?.redisUrl,
  };
  const missing = stores.filter((store) => addresses[store] === undefined);
  if (missing.length > 0) {
    throw new ConfigError(
      `Which ${missing.length === 1 ? 'store' : 'stores'}? Set ${missing.join(' and ')}, or run \`npm start\` on the data folder ${config.DATA_DIR}.`,
    );
  }
  return { ...config, ...addresses } as Settings<S>;
}

/**
 * As {@link readSettings}, with the address of the tables' owner as DATABASE_URL.
 *
 * @throws ConfigError
 */
export function readMigrationSettings(env: NodeJS.ProcessEnv): Settings<'DATABASE_URL'> {
  const owner = env['MIGRATE_DATABASE_URL'];
  return readSettings({ ...env, ...(owner && { DATABASE_URL: owner }) }, 'DATABASE_URL');
}

function readEndpoints(dataDir: string): { databaseUrl?: string; redisUrl?: string } | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(join(dataDir, 'endpoints.json'), 'utf8'));
    if (typeof value !== 'object' || value === null) return undefined;
    const { databaseUrl, redisUrl } = value as Record<string, unknown>;
    return {
      ...(typeof databaseUrl === 'string' && { databaseUrl }),
      ...(typeof redisUrl === 'string' && { redisUrl }),
    };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EACCES')
      throw new ConfigError(
        `${join(dataDir, 'endpoints.json')} belongs to another user. Run this as the user who runs \`npm start\`, or set DATABASE_URL and REDIS_URL.`,
      );
    return undefined; // nothing runs there
  }
}
