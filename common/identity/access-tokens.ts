import type { KeyObject } from 'node:crypto';
import { createVerifier, TokenError } from 'fast-jwt';
import jwt from 'jsonwebtoken';
import type { Config } from '../config.ts';
import type { Role } from '../users/user-directory.ts';
import {
  LEEWAY_S,
  OWN_MARK,
  readClaims,
  type ClaimFault,
  type ClaimSettings,
  type Identity,
} from './claims.ts';
import { KeySet, KeySetAway, publicKeyAlgorithms } from './key-set.ts';
import { secretKeys, type SecretKey } from './secrets.ts';
import { tokenHeader } from './token-header.ts';

export { KeySetAway, type Identity };

/** An access token is missing, forged, not yet or no longer valid. */
export class AccessTokenError extends Error {
  override readonly name = 'AccessTokenError';
  readonly expired: boolean;
  /** which part was refused and why, without its value: for the security log */
  readonly reason: string;

  constructor({ expired, reason }: ClaimFault) {
    super(expired ? 'the access token has expired' : 'the access token is not valid');
    this.expired = expired;
    this.reason = reason;
  }
}

type Settings = Pick<
  Config,
  | 'JWT_SECRETS'
  | 'JWT_JWKS_URL'
  | 'JWT_ISSUER'
  | 'JWT_AUDIENCE'
  | 'JWT_TTL_SECONDS'
  | 'JWT_OUTSIDE_TTL_SECONDS'
  | 'JWT_ROLE_CLAIM'
  | 'JWT_USERNAME_CLAIM'
  | 'JWT_TRUST_ADMIN_ROLE'
  | 'USER_PROVISIONING'
>;

/** What jsonwebtoken verifies, and with it koa-jwt. */
const signatureAlgorithms: readonly jwt.Algorithm[] = [
  'HS256',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'ES256',
  'ES384',
];

/** As long as Node takes a request's headers to be. */
const MAX_LENGTH = 16_384;

const refuse = (reason: string, expired = false): AccessTokenError =>
  new AccessTokenError({ reason, expired });

/**
 * Issues our own access tokens (HS256), and accepts those of an outside identity service: HS256 by a shared secret, or
 * signed by a key of its JWKS. The algorithm decides which keys are tried, so that neither can pose as the other.
 */
export class AccessTokens {
  readonly #secrets: readonly SecretKey[];
  readonly #keySet: KeySet | undefined;
  readonly #settings: Settings;
  readonly #claims: ClaimSettings;
  /** what every token must carry */
  readonly #expected: { issuer?: string; audience?: string };

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#secrets = secretKeys(settings.JWT_SECRETS);
    this.#keySet = settings.JWT_JWKS_URL === undefined ? undefined : new KeySet(settings.JWT_JWKS_URL);
    this.#claims = {
      roleClaim: settings.JWT_ROLE_CLAIM,
      usernameClaim: settings.JWT_USERNAME_CLAIM,
      trustAdmin: settings.JWT_TRUST_ADMIN_ROLE,
      outsideTtlMs: settings.JWT_OUTSIDE_TTL_SECONDS * 1000,
    };
    this.#expected = {
      ...(settings.JWT_ISSUER !== undefined && { issuer: settings.JWT_ISSUER }),
      ...(settings.JWT_AUDIENCE !== undefined && { audience: settings.JWT_AUDIENCE }),
    };
  }

  /** What an operator should know, for `/readyz`. */
  get warnings(): string[] {
    const { JWT_JWKS_URL, USER_PROVISIONING } = this.#settings;
    return [
      this.#keySet?.fault ?? [],
      JWT_JWKS_URL !== undefined && USER_PROVISIONING === 'off'
        ? 'USER_PROVISIONING is off: players of the identity service at JWT_JWKS_URL who have no account here are refused. Set it to auto.'
        : [],
    ].flat();
  }

  /** A new token of our own, and its lifetime in seconds. */
  issue(user: { userId: string; username: string; role: Role; sessionId: string; epoch: number }): {
    token: string;
    expiresIn: number;
  } {
    const [newest] = this.#secrets;
    if (!newest) throw new Error('JWT_SECRETS is empty');
    const { JWT_TTL_SECONDS: expiresIn } = this.#settings;
    const { username, role, sessionId: sid, epoch: ep } = user;
    const token = jwt.sign({ ...OWN_MARK, username, role, sid, ep }, newest.key, {
      algorithm: 'HS256',
      keyid: newest.id,
      subject: user.userId,
      expiresIn,
      ...this.#expected,
    });
    return { token, expiresIn };
  }

  /** What a verifier of signatures insists on besides the key; see {@link keysFor}. */
  get verifyOptions(): {
    algorithms: jwt.Algorithm[];
    clockTolerance: number;
    issuer?: string;
    audience?: string;
  } {
    return { algorithms: [...signatureAlgorithms], clockTolerance: LEEWAY_S, ...this.#expected };
  }

  /** The identity in a payload whose signature was verified by a key of {@link keysFor}. @throws {@link AccessTokenError} */
  identify(payload: unknown): Identity {
    const identity = readClaims(payload, this.#claims);
    if ('reason' in identity) throw new AccessTokenError(identity);
    return identity;
  }

  /** Verifies a token. @throws {@link AccessTokenError}, or {@link KeySetAway} when that cannot be done now */
  async verify(token: string): Promise<Identity> {
    if (token.length > MAX_LENGTH) throw refuse(`token: longer than ${MAX_LENGTH} characters`);
    const header = tokenHeader(token);
    if (!header) throw refuse('token: not a JWT');
    const keys = await this.keysFor(header);
    let found: AccessTokenError | undefined;
    for (const key of keys) {
      let payload: unknown;
      try {
        payload = this.#verifyWith(key, token, header.alg);
      } catch (error) {
        const why = refusalOf(error);
        // A key that did not sign it says nothing; one that did says why it is refused all the same.
        if (!found || why.expired) found = why;
        continue;
      }
      return this.identify(payload);
    }
    throw found ?? refuse('kid: no key of this name and algorithm');
  }

  /**
   * Keys that may have signed a token with this header: shared secrets for HS256, the JWKS for the rest.
   *
   * @throws {@link KeySetAway} when the identity service must be asked and does not answer
   */
  async keysFor(header: { alg: string; kid?: string | undefined; crit?: unknown }): Promise<KeyObject[]> {
    // A critical header must be understood (RFC 7515, 4.1.11); we understand none.
    if (header.crit !== undefined) throw refuse('crit: not understood');
    if (header.alg === 'HS256') {
      const named = this.#secrets.filter(({ id }) => id === header.kid);
      return (named.length > 0 ? named : this.#secrets).map(({ key }) => key);
    }
    if (!this.#keySet || !publicKeyAlgorithms.has(header.alg)) throw refuse('alg: not accepted');
    return this.#keySet.find(header.kid, header.alg);
  }

  #verifyWith(key: KeyObject, token: string, alg: string): unknown {
    if (alg === 'EdDSA') return this.#edDsa(key)(token); // jsonwebtoken knows none
    const { issuer, audience } = this.#expected;
    return jwt.verify(token, key, {
      algorithms: [alg as jwt.Algorithm],
      clockTolerance: LEEWAY_S,
      ...(issuer !== undefined && { issuer }),
      ...(audience !== undefined && { audience }),
    });
  }

  readonly #edDsaVerifiers = new WeakMap<KeyObject, (token: string) => unknown>();

  #edDsa(key: KeyObject): (token: string) => unknown {
    let verify = this.#edDsaVerifiers.get(key);
    if (!verify) {
      const { issuer, audience } = this.#expected;
      verify = createVerifier({
        key: key.export({ type: 'spki', format: 'pem' }) as string,
        algorithms: ['EdDSA'],
        clockTolerance: LEEWAY_S * 1000,
        cache: false,
        requiredClaims: [
          ...(issuer === undefined ? [] : ['iss']),
          ...(audience === undefined ? [] : ['aud']),
        ],
        ...(issuer !== undefined && { allowedIss: issuer }),
        ...(audience !== undefined && { allowedAud: audience }),
      }) as (token: string) => unknown;
      this.#edDsaVerifiers.set(key, verify);
    }
    return verify;
  }
}

/** What a library's error says, in our words: its own repeat what the token holds. */
function refusalOf(error: unknown): AccessTokenError {
  if (error instanceof jwt.TokenExpiredError) return refuse('exp: past', true);
  if (error instanceof jwt.NotBeforeError) return refuse('nbf: ahead');
  if (error instanceof TokenError) {
    if (error.code === TokenError.codes.expired) return refuse('exp: past', true);
    if (error.code === TokenError.codes.inactive) return refuse('nbf: ahead');
    if (error.code === TokenError.codes.invalidSignature) return refuse('signature: of no known key');
    return refuse('iss or aud: not the configured one');
  }
  const message = error instanceof Error ? error.message : '';
  if (message.startsWith('jwt issuer')) return refuse('iss: not JWT_ISSUER');
  if (message.startsWith('jwt audience')) return refuse('aud: not JWT_AUDIENCE');
  if (message === 'invalid signature') return refuse('signature: of no known key');
  return refuse('token: malformed');
}
