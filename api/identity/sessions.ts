import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { AccessTokens, Identity } from '../../common/identity/access-tokens.ts';
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

/** A login that has not ended, as its user may see it. */
export interface SessionView {
  readonly id: string;
  readonly createdAt: Date;
  /** its last refresh */
  readonly lastUsedAt: Date;
  readonly expiresAt: Date;
  readonly userAgent: string | null;
}

interface TokenRow {
  session_id: string;
  user_id: string;
  used: boolean;
  used_just_now: boolean;
  expired: boolean;
  revoked_because: string | null;
  revoked: boolean;
  refused: boolean;
  token_epoch: number;
}

/** A client may lose the answer to a refresh, or refresh in two tabs at once: so long (seconds) it gets the same answer again. */
const GRACE_S = 10;
/** Logins that a user may have; the oldest ends for a new one. */
const MOST_SESSIONS = 20;
const REUSED = 'a refresh token was used twice';

const hashOf = (token: string): Buffer => createHash('sha256').update(token).digest();

/**
 * Logins: each a family of refresh tokens, of which only the newest is good, and a key that signs client-signed
 * completions. The key is derived from the login's id, so that it is kept nowhere; it ends with its login. A refresh token's
 * successor is derived from it, so that the same one can be given again.
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

  /** @throws BAD_CREDENTIALS when the user's password or role was changed since the profile was read */
  async open(profile: UserProfile, userAgent: string | null): Promise<Grant> {
    const sessionId = newId();
    const refreshToken = newSecretToken();
    const { userId } = profile;
    await this.#db.transaction(async (trx) => {
      const user = await trx<{ id: string; token_epoch: number }>('users')
        .where({ id: userId })
        .forShare()
        .first('token_epoch');
      if (!user || user.token_epoch > profile.epoch)
        throw new Problem('BAD_CREDENTIALS', 'The password was changed just now. Sign in again.');
      await trx('sessions').insert({
        id: sessionId,
        user_id: userId,
        user_agent: userAgent?.slice(0, 200) ?? null,
      });
      await trx('refresh_tokens').insert(this.#tokenRow(sessionId, refreshToken));
      await trx('sessions')
        .whereIn(
          'id',
          trx('sessions')
            .where({ user_id: userId })
            .whereNull('revoked_at')
            .orderBy([
              { column: 'created_at', order: 'desc' },
              { column: 'id', order: 'desc' },
            ])
            .offset(MOST_SESSIONS)
            .select('id'),
        )
        .update({ revoked_at: trx.fn.now(), revoked_because: 'too many logins' });
    });
    return this.#grant(profile, sessionId, refreshToken);
  }

  /**
   * Trades a refresh token for the next of its family. Within ten seconds the same one is given again.
   *
   * @throws UNAUTHENTICATED, or REFRESH_TOKEN_REUSED, which ends the family
   */
  async refresh(refreshToken: string): Promise<Grant> {
    const outcome = await this.#db.transaction(async (trx) => {
      const row = (await trx('refresh_tokens as t')
        .join('sessions as s', 's.id', 't.session_id')
        .join('users as u', 'u.id', 's.user_id')
        .where('t.token_hash', hashOf(refreshToken))
        .forUpdate('t')
        .first(
          't.session_id',
          's.user_id',
          's.revoked_because',
          'u.token_epoch',
          trx.raw('t.used_at is not null as used'),
          trx.raw('coalesce(t.used_at > now() - make_interval(secs => ?), false) as used_just_now', [
            GRACE_S,
          ]),
          trx.raw('t.expires_at <= now() as expired'),
          trx.raw('s.revoked_at is not null as revoked'),
          trx.raw('u.banned_at is not null or u.erased_at is not null as refused'),
        )) as TokenRow | undefined;
      if (!row || row.expired) return undefined;
      if (row.revoked) return { row, ended: row.revoked_because !== REUSED };
      const successors = this.#signingSecrets.map((secret) => successorOf(refreshToken, secret));
      if (row.used) {
        const kept = row.used_just_now
          ? await trx<{ token_hash: Buffer }>('refresh_tokens')
              .whereIn('token_hash', successors.map(hashOf))
              .first('token_hash')
          : undefined;
        const again = kept && successors.find((token) => hashOf(token).equals(kept.token_hash));
        if (again !== undefined) return { row, next: again };
        await trx('sessions')
          .where({ id: row.session_id })
          .update({ revoked_at: trx.fn.now(), revoked_because: REUSED });
        return { row, ended: false };
      }
      // A refused user's token stays good: it is needed again when the ban is lifted.
      if (row.refused) return { row };
      const next = successors[0] ?? newSecretToken();
      await trx('refresh_tokens').where('token_hash', hashOf(refreshToken)).update({ used_at: trx.fn.now() });
      await trx('refresh_tokens').insert(this.#tokenRow(row.session_id, next));
      return { row, next };
    });
    if (!outcome)
      throw new Problem('UNAUTHENTICATED', 'The refresh token is not known or has expired. Sign in again.');
    const { row, next, ended } = outcome;
    if (ended !== undefined) {
      throw new Problem(
        'REFRESH_TOKEN_REUSED',
        'The refresh token was used before, or its login has ended. Sign in again.',
        // After a logout it is a client that forgot to forget, and no theft.
        { security: { userId: row.user_id, ...(ended && { event: 'ended_login_refreshed' }) } },
      );
    }
    const profile = await this.#directory.find(row.user_id);
    if (!profile || profile.erased) throw new Problem('UNAUTHENTICATED', 'The user no longer exists.');
    if (next === undefined || profile.banned)
      throw new Problem('USER_BANNED', 'The user is banned. Contact the game’s support.');
    return this.#grant({ ...profile, epoch: row.token_epoch }, row.session_id, next);
  }

  /** Ends the login of a refresh token: its family and its signing key. Ending it again, or an unknown one, changes nothing. */
  async close(refreshToken: string): Promise<void> {
    await this.#db('sessions')
      .whereIn(
        'id',
        this.#db('refresh_tokens').where('token_hash', hashOf(refreshToken)).select('session_id'),
      )
      .whereNull('revoked_at')
      .update({ revoked_at: this.#db.fn.now(), revoked_because: 'logout' });
  }

  /** The logins of a user that have not ended, newest first. */
  async list(userId: string): Promise<SessionView[]> {
    return (await this.#db('sessions as s')
      .join('refresh_tokens as t', 't.session_id', 's.id')
      .where('s.user_id', userId)
      .whereNull('s.revoked_at')
      .groupBy('s.id')
      .havingRaw('max(t.expires_at) > now()')
      .orderBy('s.created_at', 'desc')
      .select({
        id: 's.id',
        createdAt: 's.created_at',
        userAgent: 's.user_agent',
        lastUsedAt: this.#db.raw('max(t.created_at)'),
        expiresAt: this.#db.raw('max(t.expires_at)'),
      })) as SessionView[];
  }

  /** Ends one login of a user. @returns false when the user has no such login */
  async end(userId: string, sessionId: string): Promise<boolean> {
    const ended = await this.#db('sessions')
      .where({ id: sessionId, user_id: userId })
      .whereNull('revoked_at')
      .update({ revoked_at: this.#db.fn.now(), revoked_because: 'ended by the user' });
    return ended > 0;
  }

  /** Ends all logins of a user but one. */
  async endOthers(userId: string, kept: string | undefined): Promise<void> {
    await this.#db('sessions')
      .where({ user_id: userId })
      .whereNull('revoked_at')
      .whereNot({ id: kept ?? '' })
      .update({ revoked_at: this.#db.fn.now(), revoked_because: 'ended by the user' });
  }

  /** Whether a login of the user's has not ended. */
  async isOpen(userId: string, sessionId: string | undefined): Promise<boolean> {
    return (await this.openedAt(userId, sessionId)) !== undefined;
  }

  /** Whether the login behind a token has not ended; the logins of outside identity services are theirs to end. */
  async standsBehind({ outside, userId, sessionId }: Identity): Promise<boolean> {
    return outside === true || this.isOpen(userId, sessionId);
  }

  /** When a login of the user's was opened, with the password; undefined when there is none, or when it has ended. */
  async openedAt(userId: string, sessionId: string | undefined): Promise<Date | undefined> {
    if (sessionId === undefined) return undefined;
    const session = await this.#db<{
      id: string;
      user_id: string;
      revoked_at: Date | null;
      created_at: Date;
    }>('sessions')
      .where({ id: sessionId, user_id: userId })
      .first('revoked_at', 'created_at');
    return session?.revoked_at === null ? session.created_at : undefined;
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

/** Nobody can tell it without the secret, and only the two tokens' hashes are kept. */
const successorOf = (refreshToken: string, secret: string): string =>
  createHmac('sha256', secret).update(`successor of ${refreshToken}`).digest('base64url');
