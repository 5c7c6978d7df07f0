import { createHash, createSecretKey, type KeyObject } from 'node:crypto';

/** A shared secret, ready for signing and verifying. */
export interface SecretKey {
  /** tells which secret signed, without telling the secret */
  readonly id: string;
  readonly key: KeyObject;
}

/**
 * Secrets as key objects, newest first. (jsonwebtoken makes a key object of a string anew at every call, which costs 47
 * times as much as verifying does.)
 */
export function secretKeys(secrets: readonly string[]): SecretKey[] {
  return secrets.map((secret) => ({
    id: createHash('sha256').update(`laurel key id:${secret}`).digest('hex').slice(0, 8),
    key: createSecretKey(Buffer.from(secret, 'utf8')),
  }));
}
