import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { AccessTokens } from '../../common/identity/access-tokens.ts';
import { newId, newSecretToken } from '../../common/ids.ts';
import type { Database } from '../../common/postgres.ts';
import type { UserDirectory, UserProfile } from '../../common/users/user-directory.ts';
import { Problem } from '../http/problem.ts';

/** What a client gets when it signs in or refreshes. */
export interface Grant {
  readonly accessToken: string;
  readonly tokenType: 'Bearer';
  /** seconds */
  readonly expiresIn: number;
  readonly refreshToken: string;
  readonly signingKey: string;
  readonly profile: UserProfile;
}

interface TokenRow {
  session_id: string;
  user_id: string;
  used_at: Date | null;
  revoked_at: Date | null;
  expires_at: Date;
  banned_at: Date | null;
  erased_at: Date | null;
}

const hashOf = (token: string): Buffer => createHash('sha256').update(token).digest();

/**
 * Logins: each a family of refresh tokens, of which only the newest is good, and a key that signs client-signed
 * completions. The key is derived from the login's id, so that it is kept nowhere; it ends with its login.
 */
export class Sessions {
  readonly #db: Database;
  readonly #accessTokens: AccessTokens;
  readonly #directory: UserDirectory;
  readonly #signingSecrets: readonly string[];
  readonly #refreshTtlMs: number;

  /** @param signingSecrets newest first; signing keys of all generations are good, new logins get one of the newest */
  constructor(deps: {
    db: Database;
    accessTokens: AccessTokens;
    directory: UserDirectory;
    signingSecrets: readonly string[];
    refreshTtlSeconds: number;
  }) {
    this.#db = deps.db;
    this.#accessTokens = deps.accessTokens;
    this.#directory = deps.directory;
    this.#signingSecrets = deps.signingSecrets;
    this.#refreshTtlMs = deps.refreshTtlSeconds * 1000;
  }

  async open(profile: UserProfile): Promise<Grant> {
    const sessionId = newId();
    const refreshToken = newSecretToken();
    await this.#db.transaction(async (trx) => {
      await trx('sessions').insert({ id: sessionId, user_id: profile.userId });
      await trx('refresh_tokens').insert(this.#tokenRow(sessionId, refreshToken));
    });
    return this.#grant(profile, sessionId, refreshToken);
  }

  /** Trades a refresh token for the next of its family. @throws UNAUTHENTICATED, or REFRESH_TOKEN_REUSED, which ends the family */
  async refresh(refreshToken: string): Promise<Grant> {
    const next = newSecretToken();
    const outcome = await this.#db.transaction(async (trx) => {
      const row = await trx<TokenRow>('refresh_tokens as t')
        .join('sessions as s', 's.id', 't.session_id')
        .join('users as u', 'u.id', 's.user_id')
        .where('t.token_hash', hashOf(refreshToken))
        .forUpdate('t')
        .first<TokenRow | undefined>(
          't.session_id',
          's.user_id',
          't.used_at',
          's.revoked_at',
          't.expires_at',
          'u.banned_at',
          'u.erased_at',
        );
      if (!row || row.expires_at.getTime() <= Date.now()) return undefined;
      if (row.used_at || row.revoked_at) {
        await trx('sessions')
          .where({ id: row.session_id })
          .whereNull('revoked_at')
          .update({ revoked_at: new Date(), revoked_because: 'a refresh token was used twice' });
        return { ...row, reused: true };
      }
      // A refused user's token stays good: it is needed again when the ban is lifted.
      if (row.erased_at || row.banned_at) return { ...row, reused: false };
      await trx('refresh_tokens').where('token_hash', hashOf(refreshToken)).update({ used_at: new Date() });
      await trx('refresh_tokens').insert(this.#tokenRow(row.session_id, next));
      return { ...row, reused: false };
    });
    if (!outcome)
      throw new Problem('UNAUTHENTICATED', 'The refresh token is not known or has expired. Sign in again.');
    if (outcome.reused) {
      throw new Problem(
        'REFRESH_TOKEN_REUSED',
        'The refresh token was used before, or its login has ended. Sign in again.',
        { security: { userId: outcome.user_id } },
      );
    }
    const profile = await this.#directory.find(outcome.user_id);
    if (!profile || outcome.erased_at) throw new Problem('UNAUTHENTICATED', 'The user no longer exists.');
    if (outcome.banned_at)
      throw new Problem('USER_BANNED', 'The user is banned. Contact the game’s support.');
    return this.#grant(profile, outcome.session_id, next);
  }

  /** Ends the login of a refresh token: its family and its signing key. Ending it again, or an unknown one, changes nothing. */
  async close(refreshToken: string): Promise<void> {
    await this.#db('sessions')
      .whereIn(
        'id',
        this.#db('refresh_tokens').where('token_hash', hashOf(refreshToken)).select('session_id'),
      )
      .whereNull('revoked_at')
      .update({ revoked_at: new Date(), revoked_because: 'logout' });
  }

  /** Whether a login of the user's has not ended. */
  async isOpen(userId: string, sessionId: string | undefined): Promise<boolean> {
    if (sessionId === undefined) return false;
    const session = await this.#db<{ id: string; user_id: string; revoked_at: Date | null }>('sessions')
      .where({ id: sessionId, user_id: userId })
      .first('revoked_at');
    return session !== undefined && session.revoked_at === null;
  }

  /** Ends a login of the user's. Ending it again changes nothing. */
  async end(userId: string, sessionId: string): Promise<void> {
    await this.#db('sessions')
      .where({ id: sessionId, user_id: userId })
      .whereNull('revoked_at')
      .update({ revoked_at: new Date(), revoked_because: 'sign-out' });
  }

  /** Whether a signature was made with the key of a login that has not ended. */
  async verifySignature(
    userId: string,
    sessionId: string | undefined,
    text: string,
    signature: string,
  ): Promise<boolean> {
    if (sessionId === undefined) return false;
    const given = Buffer.from(signature, 'hex');
    const matches = this.#signingSecrets.some((secret) => {
      const expected = createHmac('sha256', signingKey(secret, sessionId)).update(text).digest();
      return given.length === expected.length && timingSafeEqual(given, expected);
    });
    return matches && this.isOpen(userId, sessionId);
  }

  #tokenRow(sessionId: string, token: string) {
    return {
      token_hash: hashOf(token),
      session_id: sessionId,
      expires_at: new Date(Date.now() + this.#refreshTtlMs),
    };
  }

  #grant(profile: UserProfile, sessionId: string, refreshToken: string): Grant {
    const { token, expiresIn } = this.#accessTokens.issue({ ...profile, sessionId });
    const key = signingKey(this.#signingSecrets[0] ?? '', sessionId);
    return { accessToken: token, tokenType: 'Bearer', expiresIn, refreshToken, signingKey: key, profile };
  }
}

/** 64 hex digits, which clients use as text. */
const signingKey = (secret: string, sessionId: string): string =>
  createHmac('sha256', secret).update(`signing key of ${sessionId}`).digest('hex');
