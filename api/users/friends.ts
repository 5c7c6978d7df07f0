import type { Database } from '../../common/postgres.ts';
import { Problem } from '../http/problem.ts';

/** More friends than this a user cannot have: a friends' board is made of all of them. */
const MOST_FRIENDS = 1000;

/** Who is whose friend. One-way: a friend need not return it. */
export class Friends {
  readonly #db: Database;
  readonly #reads: Database;

  /** @param reads the pool of reads */
  constructor(db: Database, reads: Database) {
    this.#db = db;
    this.#reads = reads;
  }

  /** Ids of a user's friends, erased ones left out. */
  async idsOf(userId: string): Promise<string[]> {
    return (await this.of(userId)).map(({ friendId }) => friendId);
  }

  /** A user's friends, in the order in which they became so. */
  async of(userId: string): Promise<{ friendId: string; since: Date }[]> {
    return this.#reads<{ friend_id: string; since: Date }>('friends as f')
      .join('users as u', 'u.id', 'f.friend_id')
      .where('f.user_id', userId)
      .whereNull('u.erased_at')
      .orderBy([{ column: 'f.since' }, { column: 'f.friend_id' }])
      .select<{ friendId: string; since: Date }[]>('f.friend_id as friendId', 'f.since');
  }

  /** Repeating it changes nothing. @throws INVALID_REQUEST for the caller's own id, and past the most friends */
  async add(userId: string, friendId: string): Promise<void> {
    if (userId === friendId)
      throw new Problem(
        'INVALID_REQUEST',
        'You cannot add yourself. Your own entry is on the friends’ board anyway.',
      );
    const [count] = await this.#db('friends')
      .where({ user_id: userId })
      .count<{ count: string }[]>('* as count');
    if (Number(count?.count ?? 0) >= MOST_FRIENDS) {
      throw new Problem('INVALID_REQUEST', `A user may have ${MOST_FRIENDS} friends. Remove one first.`);
    }
    await this.#db('friends').insert({ user_id: userId, friend_id: friendId }).onConflict().ignore();
  }

  async remove(userId: string, friendId: string): Promise<void> {
    await this.#db('friends').where({ user_id: userId, friend_id: friendId }).delete();
  }
}
