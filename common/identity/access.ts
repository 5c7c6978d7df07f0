import type { UserProfile } from '../users/user-directory.ts';
import type { Identity } from './claims.ts';

/**
 * What a verified token gives its user now. Of our own tokens the role is the profile's: what was taken from a user is taken
 * from tokens that were issued before. Tokens from outside speak for themselves.
 *
 * @returns undefined when the token has ended: the user is erased, or the user's epoch has risen since it was issued
 */
export function currentIdentity(identity: Identity, profile: UserProfile): Identity | undefined {
  if (profile.erased) return undefined;
  if (identity.outside)
    return identity.userId === profile.userId ? identity : { ...identity, userId: profile.userId };
  if (identity.epoch === undefined) return undefined;
  if (identity.epoch < profile.epoch) return undefined;
  return identity.role === profile.role ? identity : { ...identity, role: profile.role };
}
