import { createHash, randomBytes } from 'node:crypto';
import type Joi from 'joi';
import { LRUCache } from 'lru-cache';
import { Batcher } from '../batcher.ts';
import type { Config } from '../config.ts';
import type { Identity } from '../identity/claims.ts';
import { isPublicId, newId } from '../ids.ts';
import type { Database } from '../postgres.ts';
import { createUsernameSchema, usernameKey } from './names.ts';
import { reservedNames } from './reserved-names.ts';
import type { UserDirectory, UserProfile } from './user-directory.ts';

const MEMORY_SUBJECTS = 50_000;
const LOOKUPS_A_BATCH = 200;

const inventedName = (): string => `player-${randomBytes(6).toString('hex')}`;

/** The form in which a `sub` is kept. Postgres holds no NUL, and no half of a surrogate pair. */
const keptForm = (subject: string): string =>
  /\0|\p{Surrogate}/u.test(subject)
    ? `sha256:${createHash('sha256').update(JSON.stringify(subject)).digest('hex')}`
    : subject;

/** What is known of a token's user: the profile; that there was one, who is erased; or nothing. */
export type TokenUser = UserProfile | 'erased' | 'unknown';

/** What is known of a subject. */
interface Account {
  readonly userId?: string;
  /** when the last user of this subject was erased, ms */
  readonly predecessorErasedAt?: number;
}

interface AccountRow {
  subject: string;
  id: string | null;
  erased_at: Date | null;
}

/** What to do about a token whose user is `unknown`. */
export const unknownUserAdvice = ({ outside }: Pick<Identity, 'outside'>): string =>
  outside
    ? 'The token is valid, and its user has no account here. The operator lets Laurel make accounts with USER_PROVISIONING=auto.'
    : 'The token’s user is not known here. Register it first.';

export interface TokenUsersDeps {
  readonly db: Database;
  readonly directory: UserDirectory;
  /** whether users of outside services are made at first sight */
  readonly provisioning: 'off' | 'auto';
  readonly usernames: Joi.StringSchema;
  readonly isReserved: (name: string) => boolean;
}

/**
 * Finds the user whom a verified token speaks for, and makes users of an outside service at first sight. A `sub` that may be
 * read by others is the user's id, and costs no look-up of its own; any other is kept in `users.subject`, and the
 * id is one of ours.
 */
export class TokenUsers {
  readonly #deps: TokenUsersDeps;
  /** by kept subject */
  readonly #accounts = new LRUCache<string, Account>({ max: MEMORY_SUBJECTS });
  readonly #lookups: Batcher<string, Account>;

  constructor(deps: TokenUsersDeps) {
    this.#deps = deps;
    this.#lookups = new Batcher<string, Account>(
      (subjects) => this.#lookUp(subjects),
      LOOKUPS_A_BATCH,
      Infinity,
    );
  }

  /** @throws when the stores are away */
  async find(identity: Identity): Promise<TokenUser> {
    const { directory, provisioning } = this.#deps;
    const { userId, outside, issuedAt } = identity;
    const known = !outside || isPublicId(userId) ? await directory.find(userId) : undefined;
    if (known && !known.erased) return known;
    if (!outside) return known ? 'erased' : 'unknown';

    const subject = keptForm(userId);
    const remembered = this.#accounts.get(subject);
    const profile = await this.#profileOf(remembered);
    if (remembered && profile) return isOf(remembered, issuedAt) ? profile : 'erased';

    const account = await this.#lookups.add(subject);
    if (!isOf(account, issuedAt)) return 'erased';
    const found = await this.#profileOf(account);
    if (found) {
      this.#accounts.set(subject, account);
      return found;
    }
    if (provisioning === 'auto') return this.#make(identity, subject, known !== undefined);
    return account.predecessorErasedAt === undefined ? 'unknown' : 'erased';
  }

  async #profileOf(account: Account | undefined): Promise<UserProfile | undefined> {
    if (account?.userId === undefined) return undefined;
    const profile = await this.#deps.directory.find(account.userId);
    return profile?.erased ? undefined : profile;
  }

  async #lookUp(subjects: readonly string[]): Promise<Account[]> {
    // Before ids and subjects were two things, e-mail addresses were ids too.
    const { rows } = await this.#deps.db.raw<{ rows: AccountRow[] }>(
      `select s.subject, u.id, greatest(
         (select e.erased_at from users e where e.id = s.subject),
         (select e.erased_at from erased_subjects e where e.hash = subject_hash(s.subject))
       ) as erased_at
       from unnest(:subjects::text[]) as s (subject)
       left join users u on u.subject = s.subject or (u.id = s.subject and u.subject is null and u.erased_at is null)`,
      { subjects: [...new Set(subjects)] },
    );
    const found = new Map(
      rows.map(({ subject, id, erased_at }): [string, Account] => [
        subject,
        {
          ...(id !== null && { userId: id }),
          ...(erased_at !== null && { predecessorErasedAt: erased_at.getTime() }),
        },
      ]),
    );
    return subjects.map((subject) => found.get(subject) ?? {});
  }

  /** Makes the account of a user seen for the first time, or for the first time since an erasure. Safe to call many times at once. */
  async #make(identity: Identity, subject: string, idIsTaken: boolean): Promise<UserProfile> {
    const { db, usernames, isReserved } = this.#deps;
    const id = idIsTaken || !isPublicId(identity.userId) ? newId() : identity.userId;
    const claimed = usernames.validate(identity.username) as { value?: string; error?: Error };
    const usable =
      claimed.error || claimed.value === undefined || isReserved(claimed.value) ? [] : [claimed.value];
    // A name that could be foretold could be taken beforehand, and its user kept out.
    for (const username of [...usable, inventedName(), inventedName()]) {
      await db('users')
        .insert({ id, subject, username, username_key: usernameKey(username) })
        .onConflict()
        .ignore();
      const made = await this.#profileOf(await this.#lookups.add(subject));
      if (made) return made;
    }
    throw new Error('a user who was just made is not there');
  }
}

/** As the settings say. */
export const createTokenUsers = (
  config: Pick<Config, 'USER_PROVISIONING' | 'USERNAME_EMOJI' | 'ADMIN_USERNAME'>,
  db: Database,
  directory: UserDirectory,
): TokenUsers =>
  new TokenUsers({
    db,
    directory,
    provisioning: config.USER_PROVISIONING,
    usernames: createUsernameSchema(config.USERNAME_EMOJI),
    isReserved: reservedNames(config.ADMIN_USERNAME),
  });

/**
 * Whether a token can be of an account's user, and not of one who was erased before: it was issued after that, as far as
 * its whole seconds tell.
 */
const isOf = ({ predecessorErasedAt: erasedAt }: Account, issuedAt: number | undefined): boolean =>
  erasedAt === undefined ||
  (issuedAt !== undefined && Math.floor(issuedAt / 1000) > Math.floor(erasedAt / 1000));
