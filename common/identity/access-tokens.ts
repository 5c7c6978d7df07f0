import type { KeyObject } from 'node:crypto';
import Joi from 'joi';
import jwt from 'jsonwebtoken';
import type { Config } from '../config.ts';
import { userIdPattern } from '../ids.ts';
import type { Role } from '../users/user-directory.ts';
import { KeySet, KeySetAway } from './key-set.ts';
import { secretKeys, type SecretKey } from './secrets.ts';
import { tokenHeader } from './token-header.ts';

/** Who a verified access token speaks for. */
export interface Identity {
  readonly userId: string;
  readonly username?: string;
  readonly role: Role;
  /** the login that the token belongs to; tokens from outside have none */
  readonly sessionId?: string;
  /** the user's epoch when one of our own tokens was issued; tokens from outside have none */
  readonly epoch?: number;
  /** ms since the epoch */
  readonly expiresAt: number;
}

export { KeySetAway };

/** An access token is missing, forged, not yet or no longer valid. */
export class AccessTokenError extends Error {
  override readonly name = 'AccessTokenError';
  readonly expired: boolean;

  constructor(expired: boolean) {
    super(expired ? 'the access token has expired' : 'the access token is not valid');
    this.expired = expired;
  }
}

const claimsSchema = Joi.object({
  sub: Joi.string().pattern(userIdPattern).required(),
  username: Joi.string().max(200),
  role: Joi.valid('player', 'admin').default('player'),
  sid: Joi.string(),
  ep: Joi.number().integer().min(0),
  exp: Joi.number().required(),
})
  .unknown()
  .prefs({ convert: false });

type Settings = Pick<
  Config,
  'JWT_SECRETS' | 'JWT_JWKS_URL' | 'JWT_ISSUER' | 'JWT_AUDIENCE' | 'JWT_TTL_SECONDS'
>;

/** What Node takes as the headers of a request, so that a token is judged alike wherever it comes. */
const MAX_LENGTH = 16_384;
const publicKeyAlgorithms: jwt.Algorithm[] = ['RS256', 'RS384', 'RS512', 'PS256', 'ES256', 'ES384'];

/**
 * Issues our own access tokens (HS256), and accepts those of an outside identity service: HS256 by a shared secret, or
 * signed by a key of its JWKS. The algorithm decides which keys are tried, so that neither can pose as the other.
 */
export class AccessTokens {
  /** What a verifier must insist on, besides the signature. */
  readonly verifyOptions: { algorithms: jwt.Algorithm[]; issuer?: string; audience?: string };
  readonly #secrets: readonly SecretKey[];
  readonly #keySet: KeySet | undefined;
  readonly #settings: Settings;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#secrets = secretKeys(settings.JWT_SECRETS);
    this.#keySet = settings.JWT_JWKS_URL === undefined ? undefined : new KeySet(settings.JWT_JWKS_URL);
    this.verifyOptions = {
      algorithms: this.#keySet ? ['HS256', ...publicKeyAlgorithms] : ['HS256'],
      ...(settings.JWT_ISSUER !== undefined && { issuer: settings.JWT_ISSUER }),
      ...(settings.JWT_AUDIENCE !== undefined && { audience: settings.JWT_AUDIENCE }),
    };
  }

  /** A new token of our own, and its lifetime in seconds. */
  issue(user: { userId: string; username: string; role: Role; sessionId: string; epoch: number }): {
    token: string;
    expiresIn: number;
  } {
    const [newest] = this.#secrets;
    if (!newest) throw new Error('JWT_SECRETS is empty');
    const { JWT_TTL_SECONDS: expiresIn, JWT_ISSUER: issuer, JWT_AUDIENCE: audience } = this.#settings;
    const { username, role, sessionId: sid, epoch: ep } = user;
    const token = jwt.sign({ username, role, sid, ep }, newest.key, {
      algorithm: 'HS256',
      keyid: newest.id,
      subject: user.userId,
      expiresIn,
      ...(issuer !== undefined && { issuer }),
      ...(audience !== undefined && { audience }),
    });
    return { token, expiresIn };
  }

  /**
   * Keys that may have signed a token with this header: shared secrets for HS256, the JWKS for the rest.
   *
   * @throws {@link KeySetAway} when the identity service must be asked and does not answer
   */
  async keysFor(header: {
    alg?: string | undefined;
    kid?: string | undefined;
    crit?: unknown;
  }): Promise<KeyObject[]> {
    // Whoever marks a header as critical wants it understood (RFC 7515, 4.1.11); we understand none.
    if (header.crit !== undefined) return [];
    if (header.alg === 'HS256') {
      const named = this.#secrets.filter(({ id }) => id === header.kid);
      return (named.length > 0 ? named : this.#secrets).map(({ key }) => key);
    }
    if (!this.#keySet || !publicKeyAlgorithms.includes(header.alg as jwt.Algorithm)) return [];
    const key = await this.#keySet.find(header.kid);
    return key ? [key] : [];
  }

  /** The identity in a payload whose signature has been verified. @throws {@link AccessTokenError} */
  identify(payload: unknown): Identity {
    const { value, error } = claimsSchema.validate(payload) as {
      value: { sub: string; username?: string; role: Role; sid?: string; ep?: number; exp: number };
      error?: Error;
    };
    if (error) throw new AccessTokenError(false);
    return {
      userId: value.sub,
      role: value.role,
      expiresAt: value.exp * 1000,
      ...(value.username !== undefined && { username: value.username }),
      ...(value.sid !== undefined && { sessionId: value.sid }),
      ...(value.ep !== undefined && { epoch: value.ep }),
    };
  }

  /** Verifies a token. @throws {@link AccessTokenError}, or {@link KeySetAway} when that cannot be done now */
  async verify(token: string): Promise<Identity> {
    const header = token.length > MAX_LENGTH ? undefined : tokenHeader(token);
    if (!header) throw new AccessTokenError(false);
    const keys = await this.keysFor(header);
    let expired = false;
    for (const key of keys) {
      try {
        return this.identify(jwt.verify(token, key, this.verifyOptions));
      } catch (error) {
        expired ||= error instanceof jwt.TokenExpiredError;
      }
    }
    throw new AccessTokenError(expired);
  }
}
