import { newId } from '../../common/ids.ts';
import type { Database } from '../../common/postgres.ts';
import { usernameKey } from '../../common/users/names.ts';
import { reservedNames } from '../../common/users/reserved-names.ts';
import type { Role, UserDirectory, UserProfile } from '../../common/users/user-directory.ts';
import { Problem } from '../http/problem.ts';
import { hashPassword } from '../../common/identity/passwords.ts';

export interface NewUser {
  readonly username: string;
  readonly email: string | null;
  readonly password: string;
  readonly role?: Role;
}

/** What signing in needs to know of a user. */
export interface Credentials {
  readonly id: string;
  readonly passwordHash: string | null;
  readonly role: Role;
  readonly epoch: number;
}

interface CredentialsRow {
  id: string;
  username_key: string;
  password_hash: string | null;
  role: Role;
  token_epoch: number;
}

const UNIQUE_VIOLATION = '23505';

const taken = (): Problem => new Problem('USERNAME_TAKEN', 'The user name is taken. Choose another.');

/** The accounts of users, in Postgres. */
export class Users {
  readonly #db: Database;
  readonly #directory: UserDirectory;
  readonly #isReserved: (name: string) => boolean;

  /** @param isReserved whether a name may belong to the people who run the service only */
  constructor(db: Database, directory: UserDirectory, isReserved = reservedNames('admin')) {
    this.#db = db;
    this.#directory = directory;
    this.#isReserved = isReserved;
  }

  /** @throws USERNAME_TAKEN or EMAIL_TAKEN */
  async create({ username, email, password, role = 'player' }: NewUser): Promise<UserProfile> {
    if (this.#isReserved(username)) throw taken();
    const id = newId();
    try {
      await this.#db('users').insert({
        id,
        username,
        username_key: usernameKey(username),
        email,
        email_key: email?.toLowerCase() ?? null,
        password_hash: await hashPassword(password),
        role,
      });
    } catch (error) {
      const { code, constraint } = error as { code?: string; constraint?: string };
      if (code !== UNIQUE_VIOLATION) throw error;
      throw constraint === 'users_email_key_key'
        ? new Problem('EMAIL_TAKEN', 'An account with this e-mail address exists. Sign in instead.')
        : taken();
    }
    return this.#created(id);
  }

  /** Changes a profile. @throws USERNAME_TAKEN */
  async update(
    id: string,
    change: { username?: string; avatarUrl?: string | null; allowSpectators?: boolean },
  ): Promise<UserProfile> {
    const { username } = change;
    if (username !== undefined && this.#isReserved(username) && !(await this.#bears(id, username)))
      throw taken();
    try {
      await this.#db('users')
        .where({ id })
        .update({
          ...(username !== undefined && { username, username_key: usernameKey(username) }),
          ...(change.avatarUrl !== undefined && { avatar_url: change.avatarUrl }),
          ...(change.allowSpectators !== undefined && { allow_spectators: change.allowSpectators }),
          updated_at: new Date(),
        });
    } catch (error) {
      if ((error as { code?: string }).code !== UNIQUE_VIOLATION) throw error;
      throw taken();
    }
    await this.#directory.changed(id);
    return this.#created(id);
  }

  async credentials(username: string): Promise<Credentials | undefined> {
    const row = await this.#db<CredentialsRow>('users')
      .where({ username_key: usernameKey(username) })
      .first('id', 'password_hash', 'role', 'token_epoch');
    return row && { id: row.id, passwordHash: row.password_hash, role: row.role, epoch: row.token_epoch };
  }

  /** @returns null for a user without a password */
  async passwordHash(id: string): Promise<string | null> {
    const row = await this.#db<CredentialsRow>('users').where({ id }).first('password_hash');
    return row?.password_hash ?? null;
  }

  /** Sets a password, which ends every login and access token of the user. @returns the profile in its new epoch */
  async setPassword(profile: UserProfile, passwordHash: string): Promise<UserProfile> {
    const [changed] = (await this.#db('users')
      .where({ id: profile.userId })
      .whereNull('erased_at')
      .update({ password_hash: passwordHash, updated_at: this.#db.fn.now() })
      .returning('token_epoch')) as { token_epoch: number }[];
    if (!changed) throw new Problem('UNAUTHENTICATED', 'The user no longer exists.');
    await this.#directory.changed(profile.userId).catch(() => undefined); // the outbox tells the others
    return { ...profile, epoch: changed.token_epoch };
  }

  async email(userId: string): Promise<string | null> {
    const row = await this.#db<{ id: string; email: string | null }>('users')
      .where({ id: userId })
      .first('email');
    return row?.email ?? null;
  }

  /** Whether it is the user's own name already, perhaps written otherwise. */
  async #bears(id: string, username: string): Promise<boolean> {
    const row = await this.#db('users')
      .where({ id, username_key: usernameKey(username) })
      .first('id');
    return row !== undefined;
  }

  async #created(id: string): Promise<UserProfile> {
    const profile = await this.#directory.find(id);
    if (!profile) throw new Error('a user that was just made is not there');
    return profile;
  }
}
