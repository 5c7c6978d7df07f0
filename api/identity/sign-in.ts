import { passwordMatches } from '../../common/identity/passwords.ts';
import { usernameKey } from '../../common/users/names.ts';
import type { UserDirectory, UserProfile } from '../../common/users/user-directory.ts';
import type { LoginLimits } from '../admission/login-limits.ts';
import { Problem } from '../http/problem.ts';
import { isHostileText } from '../http/validate.ts';
import type { Users } from './users.ts';

/** Checks a name and a password. @throws BAD_CREDENTIALS, USER_BANNED, or RATE_LIMITED after too many attempts */
export type SignIn = (attempt: { username: string; password: string; ip: string }) => Promise<UserProfile>;

/** Checks the password of a user who is signed in. @throws BAD_CREDENTIALS, FORBIDDEN without a password, or RATE_LIMITED */
export type PasswordCheck = (userId: string, password: string, ip: string) => Promise<void>;

export interface SignInDeps {
  readonly users: Users;
  readonly directory: UserDirectory;
  readonly limits: LoginLimits;
}

export function createSignIn({ users, directory, limits }: SignInDeps): SignIn {
  return async ({ username, password, ip }) => {
    // Counted as a failure before it is known to be one, so that many attempts at once are counted too.
    const attempt = await limits.admit(usernameKey(username), ip);
    const known = isHostileText(username) ? undefined : await users.credentials(username);
    const matches = await passwordMatches(password, known?.passwordHash);
    const profile = matches && known ? await directory.find(known.id) : undefined;
    if (!known || !profile || profile.erased) {
      throw new Problem('BAD_CREDENTIALS', 'The user name or the password is wrong.', {
        ...(known && { security: { userId: known.id } }),
      });
    }
    await attempt.succeeded();
    if (profile.banned) {
      throw new Problem('USER_BANNED', 'The user is banned. Contact the game’s support.', {
        security: { userId: profile.userId },
      });
    }
    // What is remembered of the user may be older than the password that was just checked.
    return { ...profile, role: known.role, epoch: known.epoch };
  };
}

export function createPasswordCheck({ users, limits }: Omit<SignInDeps, 'directory'>): PasswordCheck {
  return async (userId, password, ip) => {
    const attempt = await limits.admit(`id/${userId}`, ip);
    const passwordHash = await users.passwordHash(userId);
    if (passwordHash === null) {
      throw new Problem(
        'FORBIDDEN',
        'This account has no password: it belongs to an outside identity service. Change it there.',
      );
    }
    if (!(await passwordMatches(password, passwordHash)))
      throw new Problem('BAD_CREDENTIALS', 'The current password is wrong.', { security: { userId } });
    await attempt.succeeded();
  };
}
