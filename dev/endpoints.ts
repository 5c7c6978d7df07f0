import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Where the stores of a running `npm start` are, for the command line beside it (see cli/settings.ts). With passwords:
 * only the owner can read the file.
 */
export interface Endpoints {
  readonly databaseUrl: string;
  readonly redisUrl: string;
}

const FILE = 'endpoints.json';

/** Whole or not at all, so that nobody reads half an address. */
export function writeEndpoints(dataDir: string, { databaseUrl, redisUrl }: Endpoints): void {
  const path = join(dataDir, FILE);
  rmSync(`${path}.new`, { force: true }); // an existing file would keep its own mode
  writeFileSync(`${path}.new`, `${JSON.stringify({ databaseUrl, redisUrl }, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

export function removeEndpoints(dataDir: string): void {
  rmSync(join(dataDir, FILE), { force: true });
}
