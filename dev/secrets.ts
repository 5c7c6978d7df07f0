import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { StackError } from './errors.ts';

/** What `npm start` makes once, so that sessions and tokens outlive a restart. */
export interface DevSecrets {
  readonly JWT_SECRETS: string;
  readonly ACTION_TOKEN_SECRETS: string;
  readonly ADMIN_PASSWORD: string;
}

const FILE = 'secrets.json';

/** Reads the secrets in a data folder, or makes them. Only their owner can read the file. */
export function loadSecrets(dataDir: string): DevSecrets {
  const path = join(dataDir, FILE);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  if (existsSync(path)) {
    try {
      const known = JSON.parse(readFileSync(path, 'utf8')) as DevSecrets;
      if (
        [known.JWT_SECRETS, known.ACTION_TOKEN_SECRETS, known.ADMIN_PASSWORD].every(
          (secret) => typeof secret === 'string',
        )
      )
        return known;
    } catch {
      // Unreadable: said below.
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
