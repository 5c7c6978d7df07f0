import type { UserProfile } from '../../common/users/user-directory.ts';
import { iso } from '../http/schemas.ts';

/** A user as others may see it. */
export const presentUser = (profile: UserProfile) => ({
  userId: profile.userId,
  username: profile.username,
  avatarUrl: profile.avatarUrl,
  role: profile.role,
  createdAt: iso(profile.createdAt),
});
