import { hash, verify } from '@node-rs/argon2';
import { bulkhead, BulkheadRejectedError } from 'cockatiel';

/** argon2id (the library's default kind) with 19 MiB and two passes, as OWASP's password storage cheat sheet asks. */
const cost = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

/** Hashes at once: they run on libuv's threads (4), which files, DNS and compression need too. */
const AT_ONCE = 3;
/** Hashes that wait for their turn: about a second of them. */
const IN_LINE = 64;
const line = bulkhead(AT_ONCE, IN_LINE);

/** More passwords are being hashed than this process should queue. */
export class HashingBusy extends Error {
  override readonly name = 'HashingBusy';
}

async function inLine<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await line.execute(work);
  } catch (error) {
    throw error instanceof BulkheadRejectedError
      ? new HashingBusy('too many passwords are being hashed', { cause: error })
      : error;
  }
}

/** The hash of a password that nobody has. */
let decoy: string | undefined;

/** @throws {@link HashingBusy} */
export const hashPassword = (password: string): Promise<string> =>
  inLine(() => hash(password.normalize('NFKC'), cost));

/**
 * Whether a password is the one whose hash is kept. Without a hash it costs the same time, so that nobody learns from the
 * clock which user names exist. Keyboards write the same character in several forms: NFKC is what is hashed. Hashes made
 * before that are of the password as it was typed, in most cases NFC.
 *
 * @throws {@link HashingBusy}
 */
export async function passwordMatches(password: string, kept: string | null | undefined): Promise<boolean> {
  const against = kept ?? (decoy ??= await hashPassword('no password is this one'));
  let matches = false;
  for (const form of new Set([password.normalize('NFKC'), password, password.normalize('NFC')]))
    matches ||= await inLine(() => verify(against, form));
  return matches && kept !== null && kept !== undefined;
}
