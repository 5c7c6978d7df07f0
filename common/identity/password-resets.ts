import { createHash } from 'node:crypto';
import { newSecretToken } from '../ids.ts';
import type { Database } from '../postgres.ts';

const LIFETIME_S = 3600;

const hashOf = (token: string): Buffer => createHash('sha256').update(token).digest();

export interface PasswordReset {
  /** shown once: only its hash is kept */
  readonly token: string;
  readonly expiresAt: Date;
}

/** Makes a token with which a user may choose a new password, once, within the hour. It replaces an earlier one. */
export async function issuePasswordReset(db: Database, userId: string, by: string): Promise<PasswordReset> {
  const token = newSecretToken();
  const rows = (await db('password_resets')
    .insert({
      token_hash: hashOf(token),
      user_id: userId,
      created_by: by,
      expires_at: db.raw('now() + make_interval(secs => ?)', [LIFETIME_S]),
    })
    .onConflict('user_id')
    .merge()
    .returning('expires_at')) as { expires_at: Date }[];
  return { token, expiresAt: rows[0]?.expires_at ?? new Date() };
}

/** Whether a token may be used now. */
export async function isPasswordReset(db: Database, token: string): Promise<boolean> {
  const row: unknown = await db('password_resets')
    .where({ token_hash: hashOf(token) })
    .where('expires_at', '>', db.fn.now())
    .first('user_id');
  return row !== undefined;
}

/**
 * Sets the password of a token's user, and uses the token up. All logins of the user end.
 *
 * @returns the user's id; undefined when the token is not known, was used, or has expired
 */
export function redeemPasswordReset(
  db: Database,
  token: string,
  passwordHash: string,
): Promise<string | undefined> {
  return db.transaction(async (trx) => {
    const [reset] = (await trx('password_resets')
      .where({ token_hash: hashOf(token) })
      .where('expires_at', '>', trx.fn.now())
      .delete('user_id')) as { user_id: string }[];
    if (!reset) return undefined;
    const changed = await trx('users')
      .where({ id: reset.user_id })
      .whereNull('erased_at')
      .update({ password_hash: passwordHash, updated_at: trx.fn.now() });
    return changed > 0 ? reset.user_id : undefined;
  });
}
