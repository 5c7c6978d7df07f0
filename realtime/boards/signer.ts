import { createHmac } from 'node:crypto';
import { secretKeys, type SecretKey } from '../../common/identity/secrets.ts';
import type { Frame } from './board-feed.ts';

/** A frame as it goes out; signed where signing is on. */
export type SentFrame = Frame & { readonly keyId?: string; readonly signature?: string };

/**
 * The text that is signed: the frame as JSON in the form of RFC 8785, that is, without white space and with the members
 * of every object sorted by name.
 */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(',')}}`;
}

/**
 * Signs frames for studios that relay them: `signature` is the hex HMAC-SHA256, with the secret as UTF-8 text, of the
 * canonical text of the frame with its `keyId` and without its `signature`.
 *
 * @param secrets newest first; the first signs. Without any, frames go out as they are
 */
export function createSigner(secrets: readonly string[]): (frame: Frame) => SentFrame {
  const [newest]: (SecretKey | undefined)[] = secretKeys(secrets);
  if (!newest) return (frame) => frame;
  return (frame) => {
    const named = { ...frame, keyId: newest.id };
    return { ...named, signature: createHmac('sha256', newest.key).update(canonical(named)).digest('hex') };
  };
}
