import { createHash } from 'node:crypto';
import { usernameKey } from '../../common/users/names.ts';
import type { UserDirectory, UserProfile } from '../../common/users/user-directory.ts';
import type { AdmissionControl, Ask } from '../admission/admission.ts';
import { Problem } from '../http/problem.ts';
import { isHostileText } from '../http/validate.ts';
import { passwordMatches } from '../../common/identity/passwords.ts';
import type { Users } from './users.ts';

/** Under which failures of a name are counted, however it is written: no name stands in Redis as such. */
const countedName = (username: string): string =>
  createHash('sha256').update(usernameKey(username)).digest('base64url').slice(0, 22);

/** Checks a name and a password. @throws BAD_CREDENTIALS, USER_BANNED, or RATE_LIMITED after too many failures */
export type SignIn = (attempt: { username: string; password: string; ip: string }) => Promise<UserProfile>;

export function createSignIn(deps: {
  users: Users;
  directory: UserDirectory;
  admission: AdmissionControl;
}): SignIn {
  const { users, directory, admission } = deps;
  return async ({ username, password, ip }) => {
    // Counted as a failure before it is known to be one, so that many attempts at once are counted too.
    const ask: Ask = { kind: 'login', ip, loginName: countedName(username) };
    const admitted = await admission.admit(ask);
    const known = isHostileText(username) ? undefined : await users.credentials(username);
    const matches = await passwordMatches(password, known?.passwordHash);
    const profile = matches && known ? await directory.find(known.id) : undefined;
    if (!profile || profile.erased) {
      throw new Problem('BAD_CREDENTIALS', 'The user name or the password is wrong.', {
        ...(known && { security: { userId: known.id } }),
      });
    }
    if (admitted.admitted) await admission.forgetLogin(ask, admitted.at).catch(() => undefined);
    if (profile.banned) {
      throw new Problem('USER_BANNED', 'The user is banned. Contact the game’s support.', {
        security: { userId: profile.userId },
      });
    }
    return profile;
  };
}
