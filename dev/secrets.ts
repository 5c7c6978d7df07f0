import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, StackError } from './errors.ts';

/** What `npm start` makes once, so that sessions and tokens outlive a restart. */
export interface DevSecrets {
  readonly JWT_SECRETS: string;
  readonly ACTION_TOKEN_SECRETS: string;
  readonly ADMIN_PASSWORD: string;
}

const FILE = 'secrets.json';

const usable = 'Set DATA_DIR to a folder of your own, or run as the user that owns this one.';

/** @throws StackError when the data folder cannot be there */
function makeFolder(dataDir: string): void {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new StackError(`The data folder ${dataDir} cannot be made: ${messageOf(error)}. ${usable}`);
  }
}

/** @throws StackError when the file belongs to somebody else */
function readOrExplain(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new StackError(`${path} cannot be read: ${messageOf(error)}. ${usable}`);
  }
}

/** Reads the secrets in a data folder, or makes them. Only their owner can read the file. */
export function loadSecrets(dataDir: string): DevSecrets {
  const path = join(dataDir, FILE);
  makeFolder(dataDir);
  if (existsSync(path)) {
    const text = readOrExplain(path);
    try {
      const known = JSON.parse(text) as DevSecrets;
      if (
        [known.JWT_SECRETS, known.ACTION_TOKEN_SECRETS, known.ADMIN_PASSWORD].every(
          (secret) => typeof secret === 'string',
        )
      )
        return known;
    } catch {
      // Not JSON: said below.
    }
    throw new StackError(
      `${path} does not hold Laurel's secrets. Delete it: new ones are made, and everybody signs in again.`,
    );
  }
  const secrets: DevSecrets = {
    JWT_SECRETS: randomBytes(36).toString('base64url'),
    ACTION_TOKEN_SECRETS: randomBytes(36).toString('base64url'),
    ADMIN_PASSWORD: randomBytes(9).toString('base64url'),
  };
  // Whole or not at all: a crash in between must not leave half a file.
  writeFileSync(`${path}.new`, `${JSON.stringify(secrets, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
  return secrets;
}
