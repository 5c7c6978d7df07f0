import type { Config } from '../../common/config.ts';
import { AccessTokenError, type AccessTokens, type Identity } from '../../common/identity/access-tokens.ts';
import { currentIdentity } from '../../common/identity/access.ts';
import { unknownUserAdvice, type TokenUsers } from '../../common/users/token-users.ts';
import { Refusal } from './refusal.ts';

export interface DoormanDeps {
  readonly config: Pick<Config, 'PUBLIC_READS'>;
  readonly accessTokens: AccessTokens;
  readonly tokenUsers: TokenUsers;
}

/**
 * Finds out who connects, by an access token. Nobody is `undefined`, where boards are public.
 *
 * @throws Refusal: UNAUTHENTICATED, TOKEN_EXPIRED, USER_NOT_FOUND, USER_BANNED, UNAVAILABLE
 */
export function createDoorman({ config, accessTokens, tokenUsers }: DoormanDeps) {
  return async function identify(token: string | undefined): Promise<Identity | undefined> {
    if (!token) {
      if (config.PUBLIC_READS) return undefined;
      throw new Refusal('UNAUTHENTICATED', 'Boards are not public here. Send an access token.');
    }
    const verified = await accessTokens.verify(token).catch((error: unknown) => {
      if (!(error instanceof AccessTokenError)) throw unavailable();
      throw error.expired
        ? new Refusal('TOKEN_EXPIRED', 'The access token has expired. Refresh it, or sign in again.')
        : new Refusal('UNAUTHENTICATED', 'The access token is not valid. Sign in again.');
    });
    const profile = await tokenUsers.find(verified).catch(() => {
      throw unavailable();
    });
    if (profile === 'unknown') throw new Refusal('USER_NOT_FOUND', unknownUserAdvice(verified));
    if (profile === 'erased') throw new Refusal('UNAUTHENTICATED', 'The user no longer exists.');
    const identity = currentIdentity(verified, profile);
    if (!identity)
      throw new Refusal('UNAUTHENTICATED', 'The access token was withdrawn. Refresh it, or sign in again.');
    if (profile.banned) throw new Refusal('USER_BANNED', 'The user is banned. Contact the game’s support.');
    return identity;
  };
}
export type Doorman = ReturnType<typeof createDoorman>;

const unavailable = (): Refusal =>
  new Refusal('UNAVAILABLE', 'The user cannot be looked up right now. Try again in a moment.');

const LONGEST_TIMER_MS = 2_147_483_647;

/** Runs something at an instant, however far away. @returns what calls it off */
export function at(instant: number, run: () => void): () => void {
  let timer: NodeJS.Timeout;
  const wait = (): void => {
    const left = instant - Date.now();
    timer = setTimeout(left > LONGEST_TIMER_MS ? wait : run, Math.min(Math.max(0, left), LONGEST_TIMER_MS));
    timer.unref();
  };
  wait();
  return () => clearTimeout(timer);
}
