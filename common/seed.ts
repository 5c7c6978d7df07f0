import { hashPassword, passwordMatches } from './identity/passwords.ts';
import { newId } from './ids.ts';
import type { Database } from './postgres.ts';
import { usernameKey } from './users/names.ts';
import type { Role } from './users/user-directory.ts';

const leaderboards = [
  { key: 'global', title: 'Global' },
  { key: 'game1', title: 'Game 1' },
  { key: 'game2', title: 'Game 2' },
];

const actionTypes = [
  { key: 'COMPLETE_TASK', title: 'Complete a task', points: 10 },
  { key: 'COMPLETE_QUEST', title: 'Complete a quest', points: 50 },
  { key: 'COMPLETE_MISSION', title: 'Complete a mission', points: 100 },
];

const difficulties = JSON.stringify({ easy: 0.5, normal: 1, hard: 1.5, expert: 2 });

/** Leaderboards and action types to begin with. What exists already stays as the operator made it. */
export async function seedCatalog(db: Database): Promise<void> {
  await db('leaderboards').insert(leaderboards).onConflict('key').ignore();
  await db('action_types')
    .insert(actionTypes.map((type) => ({ ...type, difficulties })))
    .onConflict('key')
    .ignore();
}

/** Makes sure that an account exists and has this password. @returns its id */
export async function ensureUser(
  db: Database,
  username: string,
  password: string,
  role: Role,
): Promise<string> {
  const known = await db<{ id: string; password_hash: string | null; role: Role; username_key: string }>(
    'users',
  )
    .where({ username_key: usernameKey(username) })
    .first('id', 'password_hash', 'role');
  if (known) {
    if (known.role !== role || !(await passwordMatches(password, known.password_hash))) {
      await db('users')
        .where({ id: known.id })
        .update({ role, password_hash: await hashPassword(password), updated_at: new Date() });
    }
    return known.id;
  }
  const id = newId();
  await db('users')
    .insert({
      id,
      username,
      username_key: usernameKey(username),
      password_hash: await hashPassword(password),
      role,
    })
    .onConflict('username_key')
    .ignore();
  return id;
}
