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

const difficulties = { easy: 0.5, normal: 1, hard: 1.5, expert: 2 };

/** No price is above the 100 points an update that these leaderboards pay: what the catalog says is what is awarded. */
const actionTypes = [
  { key: 'COMPLETE_TASK', title: 'Complete a task', points: 10, difficulties },
  { key: 'COMPLETE_QUEST', title: 'Complete a quest', points: 50, difficulties },
  {
    key: 'COMPLETE_MISSION',
    title: 'Complete a mission',
    points: 100,
    difficulties: { ...difficulties, hard: 1, expert: 1 },
  },
];

/** Leaderboards and action types to begin with. What exists already stays as the operator made it. */
export async function seedCatalog(db: Database): Promise<void> {
  await db('leaderboards').insert(leaderboards).onConflict('key').ignore();
  await db('action_types')
    .insert(actionTypes.map((type) => ({ ...type, difficulties: JSON.stringify(type.difficulties) })))
    .onConflict('key')
    .ignore();
}

/** An account of this name is not the one that was to be made. The message says what to do. */
export class NameBelongsToAnother extends Error {
  override readonly name = 'NameBelongsToAnother';
}

interface Account {
  id: string;
  username_key: string;
  password_hash: string | null;
  role: Role;
  banned_at: Date | null;
}

/**
 * Makes sure that an account of this name and role exists and has this password. An account of another role is left as it
 * is: a player who took the name first must not get the operator's role, nor lose the account. A new password ends every login
 * (the database sees to it), and an administrator's ban is lifted, as there may be nobody else to do it.
 *
 * @returns its id @throws {@link NameBelongsToAnother}
 */
export async function ensureUser(
  db: Database,
  username: string,
  password: string,
  role: Role,
): Promise<string> {
  const known = await findAccount(db, username);
  if (!known) {
    const id = await insertAccount(db, username, password, role);
    // Another process may have been faster.
    return id ?? ensureUser(db, username, password, role);
  }
  if (known.role !== role) {
    throw new NameBelongsToAnother(
      `The name ${username} belongs to ${known.role === 'admin' ? 'an administrator' : 'a player'} (${known.id}), whose account stays as it is. Choose another name, or have that account renamed first.`,
    );
  }
  const isSame = await passwordMatches(password, known.password_hash);
  const isBanned = role === 'admin' && known.banned_at !== null;
  if (!isSame || isBanned) {
    await db('users')
      .where({ id: known.id })
      .update({
        ...(!isSame && { password_hash: await hashPassword(password) }),
        ...(isBanned && { banned_at: null, ban_reason: null }),
        updated_at: db.fn.now(),
      });
  }
  return known.id;
}

/** Makes a player of this name, unless there is an account of it: that may be somebody's own by now. */
export async function ensureDemoPlayer(db: Database, username: string, password: string): Promise<void> {
  if (!(await findAccount(db, username))) await insertAccount(db, username, password, 'player');
}

const findAccount = (db: Database, username: string): Promise<Account | undefined> =>
  db<Account>('users')
    .where({ username_key: usernameKey(username) })
    .first('id', 'password_hash', 'role', 'banned_at') as Promise<Account | undefined>;

/** @returns undefined when the name was taken meanwhile */
async function insertAccount(
  db: Database,
  username: string,
  password: string,
  role: Role,
): Promise<string | undefined> {
  const rows = (await db('users')
    .insert({
      id: newId(),
      username,
      username_key: usernameKey(username),
      password_hash: await hashPassword(password),
      role,
    })
    .onConflict('username_key')
    .ignore()
    .returning('id')) as { id: string }[];
  return rows[0]?.id;
}
