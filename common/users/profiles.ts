import type { Database } from '../postgres.ts';
import { hasTexts } from '../validate.ts';

export type Role = 'player' | 'admin';

/** What every tier may need to know of a user, at once. */
export interface UserProfile {
  readonly userId: string;
  readonly username: string;
  readonly avatarUrl: string | null;
  readonly role: Role;
  readonly banned: boolean;
  readonly erased: boolean;
  readonly allowSpectators: boolean;
  /** ms since the epoch */
  readonly createdAt: number;
  /** access tokens of ours that were issued in an earlier epoch have ended */
  readonly epoch: number;
  /** rises with every change: the newer of two profiles is the true one */
  readonly revision: number;
}

/** By hand, because a schema would cost the API more than all else it does to look a user up. */
export const isProfile = (value: unknown): value is UserProfile =>
  hasTexts(value, 'userId', 'username') &&
  (value['avatarUrl'] === null || typeof value['avatarUrl'] === 'string') &&
  (value['role'] === 'player' || value['role'] === 'admin') &&
  ['banned', 'erased', 'allowSpectators'].every((key) => typeof value[key] === 'boolean') &&
  ['createdAt', 'epoch', 'revision'].every((key) => Number.isFinite(value[key]));

interface UserRow {
  id: string;
  username: string;
  avatar_url: string | null;
  role: Role;
  banned_at: Date | null;
  erased_at: Date | null;
  allow_spectators: boolean;
  created_at: Date;
  token_epoch: number;
  revision: string;
}

const columns = [
  'id',
  'username',
  'avatar_url',
  'role',
  'banned_at',
  'erased_at',
  'allow_spectators',
  'created_at',
  'token_epoch',
  'revision',
] as const;

const toProfile = (row: UserRow): UserProfile => ({
  userId: row.id,
  username: row.username,
  avatarUrl: row.avatar_url,
  role: row.role,
  banned: row.banned_at !== null,
  erased: row.erased_at !== null,
  allowSpectators: row.allow_spectators,
  createdAt: row.created_at.getTime(),
  epoch: row.token_epoch,
  revision: Number(row.revision),
});

/** Profiles of those of the ids that exist, from Postgres, which decides. */
export async function readProfiles(db: Database, userIds: readonly string[]): Promise<UserProfile[]> {
  const rows = await db<UserRow>('users')
    .select(...columns)
    .whereIn('id', userIds);
  return rows.map(toProfile);
}
