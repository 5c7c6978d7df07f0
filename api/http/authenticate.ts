import type Koa from 'koa';
import jwt from 'koa-jwt';
import { LRUCache } from 'lru-cache';
import {
  AccessTokenError,
  KeySetAway,
  type AccessTokens,
  type Identity,
} from '../../common/identity/access-tokens.ts';
import { currentIdentity } from '../../common/identity/access.ts';
import { unknownUserAdvice, type TokenUser, type TokenUsers } from '../../common/users/token-users.ts';
import type { Sessions } from '../identity/sessions.ts';
import { Problem, unavailable } from './problem.ts';
import type { Access, Caller } from './route.ts';

export interface AuthenticateDeps {
  readonly accessTokens: AccessTokens;
  readonly tokenUsers: TokenUsers;
  readonly publicReads: boolean;
  readonly sessions: Pick<Sessions, 'standsBehind'>;
}

const bearer = /^Bearer +([^ ]+)$/i;
const tokenOf = (ctx: Pick<Koa.Context, 'get'>): string => bearer.exec(ctx.get('authorization'))?.[1] ?? '';
const challenge = { 'WWW-Authenticate': 'Bearer' };

/** How long a token that was verified is taken for verified, milliseconds: so long a key that was withdrawn may still count. */
const VERIFIED_MS = 60_000;
const VERIFIED_TOKENS = 20_000;

/** Why a token is refused, for its sender to know what to do. */
function toProblem(error: unknown, token: string): unknown {
  if (error instanceof KeySetAway) return unavailable('The identity service does not answer.', error);
  if (!(error instanceof AccessTokenError)) return error;
  if (error.expired) {
    return new Problem('TOKEN_EXPIRED', 'The access token has expired. Refresh it, or sign in again.', {
      headers: challenge,
    });
  }
  return new Problem('UNAUTHENTICATED', 'Send a valid access token as “Authorization: Bearer <token>”.', {
    headers: challenge,
    ...(token !== '' && { security: { event: 'access_token_refused', reason: error.reason } }),
  });
}

/** Finds out who calls, by the bearer token, and whether they may. */
export function createAuthenticator({ accessTokens, tokenUsers, publicReads, sessions }: AuthenticateDeps) {
  const verify = jwt({
    // koa-jwt's types know text only; jsonwebtoken takes key objects, which spare it a parse at every call.
    secret: ((header: { alg: string; kid?: string }) =>
      accessTokens.keysFor(header)) as unknown as jwt.SecretLoader,
    key: 'claims',
    getToken: tokenOf,
    ...accessTokens.verifyOptions,
  } as jwt.Options);

  /** What koa-jwt refuses, or has no algorithm for (EdDSA), is judged once more, by what says why. */
  async function identityIn(ctx: Koa.Context, token: string): Promise<Identity> {
    try {
      await verify(ctx, () => Promise.resolve());
    } catch {
      return accessTokens.verify(token);
    }
    return accessTokens.identify((ctx.state as { claims?: unknown }).claims);
  }

  const verified = new LRUCache<string, Identity>({ max: VERIFIED_TOKENS, ttl: VERIFIED_MS });

  /** Whom a token speaks for. A player sends the same one many times a minute. */
  async function verifiedIdentity(ctx: Koa.Context): Promise<Identity> {
    const token = tokenOf(ctx);
    const known = verified.get(token);
    if (known && known.expiresAt > Date.now()) return known;
    try {
      const identity = await identityIn(ctx, token);
      verified.set(token, identity);
      return identity;
    } catch (error) {
      throw toProblem(error, token);
    }
  }

  async function identify(ctx: Koa.Context): Promise<Caller> {
    const identity = await verifiedIdentity(ctx);
    let profile: TokenUser;
    try {
      profile = await tokenUsers.find(identity);
    } catch (error) {
      throw unavailable('The user cannot be looked up right now.', error);
    }
    if (profile === 'unknown') throw new Problem('USER_NOT_FOUND', unknownUserAdvice(identity));
    if (profile === 'erased')
      throw new Problem('UNAUTHENTICATED', 'The user no longer exists.', { headers: challenge });
    const current = currentIdentity(identity, profile);
    if (!current) {
      throw new Problem('UNAUTHENTICATED', 'The access token was withdrawn. Refresh it, or sign in again.', {
        headers: challenge,
      });
    }
    ctx.state['userId'] = profile.userId;
    if (profile.banned) throw new Problem('USER_BANNED', 'The user is banned. Contact the game’s support.');
    return { identity: current, profile };
  }

  /** An access token outlives its login by up to an hour. @throws UNAUTHENTICATED when the login has ended */
  async function mustBeOpen({ identity }: Caller): Promise<void> {
    const isOpen = await sessions
      .standsBehind(identity)
      .catch((error: unknown) =>
        Promise.reject(unavailable('The login cannot be looked up right now.', error)),
      );
    if (!isOpen)
      throw new Problem('UNAUTHENTICATED', 'The login has ended. Sign in again.', { headers: challenge });
  }

  /**
   * @param openLogin the login must not have ended; always asked of administrators
   * @returns the caller; undefined for an anonymous one where that is allowed
   * @throws 401, 403 or 404
   */
  return async function authenticate(
    ctx: Koa.Context,
    access: Access,
    openLogin = false,
  ): Promise<Caller | undefined> {
    const anonymous = ctx.get('authorization') === '';
    if (access === 'anyone' || (access === 'reader' && publicReads && anonymous)) return undefined;
    const caller = await identify(ctx);
    if (access === 'admin' && caller.identity.role !== 'admin') {
      throw new Problem('FORBIDDEN', 'This is for administrators.');
    }
    if (openLogin || access === 'admin') await mustBeOpen(caller);
    return caller;
  };
}

export type Authenticate = ReturnType<typeof createAuthenticator>;
