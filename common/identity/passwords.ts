import { hash, verify } from '@node-rs/argon2';

/** argon2id (the library's default kind) with 19 MiB and two passes, as OWASP's password storage cheat sheet asks. */
const cost = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

let decoy: Promise<string> | undefined;

export const hashPassword = (password: string): Promise<string> => hash(password, cost);

/**
 * Whether a password is the one whose hash is kept. Without a hash it costs the same time, so that nobody learns from the
 * clock which user names exist.
 */
export async function passwordMatches(password: string, kept: string | null | undefined): Promise<boolean> {
  decoy ??= hashPassword('no password is this one');
  const matches = await verify(kept ?? (await decoy), password);
  return matches && kept !== null && kept !== undefined;
}
