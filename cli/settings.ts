import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError, loadConfig, type Config } from '../common/config.ts';

/** Settings with the addresses of both stores. */
export type Settings = Config & { readonly DATABASE_URL: string; readonly REDIS_URL: string };

/**
 * The settings of the environment. A store that they do not name is that of the `npm start` which runs on DATA_DIR: it
 * keeps `endpoints.json` there for as long as it runs.
 *
 * @throws ConfigError when a variable is wrong, or a store is neither named nor running
 */
export function readSettings(env: NodeJS.ProcessEnv): Settings {
  const config = loadConfig(env);
  const running = readEndpoints(config.DATA_DIR);
  const DATABASE_URL = config.DATABASE_URL ?? running?.databaseUrl;
  const REDIS_URL = config.REDIS_URL ?? running?.redisUrl;
  if (DATABASE_URL === undefined || REDIS_URL === undefined) {
    const missing = [DATABASE_URL === undefined && 'DATABASE_URL', REDIS_URL === undefined && 'REDIS_URL'];
    throw new ConfigError(
      `Which stores? Set ${missing.filter(Boolean).join(' and ')}, or run \`npm start\` on the data folder ${config.DATA_DIR}.`,
    );
  }
  return { ...config, DATABASE_URL, REDIS_URL };
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
  } catch {
    return undefined; // nothing runs there, or it is somebody else's
  }
}
