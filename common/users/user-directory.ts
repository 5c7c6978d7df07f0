import { LRUCache } from 'lru-cache';
import { Batcher } from '../batcher.ts';
import { announce, type EventListener } from '../events.ts';
import type { Database } from '../postgres.ts';
import { loadScript, redisBreaker, scriptCaller, unwrap, type Redis } from '../redis.ts';
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
const isProfile = (value: unknown): value is UserProfile =>
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

const key = (userId: string): string => `laurel:user:{${userId}}`;
const script = loadScript(new URL('lua/remember_user.lua', import.meta.url), 1);

const LIFETIME_S = 7 * 86_400;
/**
 * In memory for this long without an event: bounds what an event that was lost without a trace can do. A lost connection
 * leaves a trace, and empties the memory.
 */
const MEMORY_MS = 30_000;
const MEMORY_USERS = 50_000;
const LOOKUPS_A_BATCH = 200;

/** Profiles by id: from memory, else Redis, else Postgres. Answers while any one of the stores is away, if it can. */
export class UserDirectory {
  readonly #db: Database;
  readonly #redis: Redis;
  readonly #call: ReturnType<typeof scriptCaller>;
  readonly #breaker = redisBreaker();
  readonly #memory = new LRUCache<string, UserProfile>({ max: MEMORY_USERS, ttl: MEMORY_MS });
  /** Callers who ask for one user each share the round trips. */
  readonly #lookups = new Batcher<string, UserProfile | undefined>(
    async (userIds) => {
      const found = await this.findMany([...new Set(userIds)]);
      return userIds.map((userId) => found.get(userId));
    },
    LOOKUPS_A_BATCH,
    Infinity,
  );
  /** how many changes have been heard of */
  #changes = 0;

  constructor(db: Database, redis: Redis) {
    this.#db = db;
    this.#redis = redis;
    this.#call = scriptCaller(redis, [script]);
  }

  /** Forgets users whose profile changed, as soon as it is announced. */
  async start(events: EventListener): Promise<void> {
    await events.onChange((event) => {
      if (event.kind === 'user') this.#forget(event.userId);
    });
    events.onResumed(() => {
      this.#changes += 1;
      this.#memory.clear();
    });
  }

  /** @returns undefined for a user that does not exist @throws when it is not known and the stores are away */
  async find(userId: string): Promise<UserProfile | undefined> {
    return this.#memory.get(userId) ?? this.#lookups.add(userId);
  }

  /** Profiles of those of the ids that exist. */
  async findMany(userIds: readonly string[]): Promise<Map<string, UserProfile>> {
    const found = new Map<string, UserProfile>();
    const missing: string[] = [];
    for (const userId of userIds) {
      const known = this.#memory.get(userId);
      if (known) found.set(userId, known);
      else missing.push(userId);
    }
    if (missing.length === 0) return found;
    const changes = this.#changes;
    for (const profile of await this.#fromRedis(missing)) found.set(profile.userId, profile);
    const unknown = missing.filter((userId) => !found.has(userId));
    if (unknown.length > 0) {
      const profiles = await this.#fromPostgres(unknown);
      for (const profile of profiles) found.set(profile.userId, profile);
      // Nobody waits for this: a frozen Redis must not hold up what Postgres has answered.
      void this.#remember(profiles).catch(() => undefined);
    }
    // What was read while somebody was banned may be what was true before.
    if (changes !== this.#changes) return found;
    for (const userId of missing) {
      const profile = found.get(userId);
      if (profile) this.#memory.set(userId, profile);
    }
    return found;
  }

  #forget(userId: string): void {
    this.#changes += 1;
    this.#memory.delete(userId);
  }

  /** Takes a profile that has just been written to Postgres into Redis, and tells every process. */
  async changed(userId: string): Promise<void> {
    this.#forget(userId);
    await this.#remember(await this.#fromPostgres([userId])).catch(() => undefined);
    await announce(this.#redis, { kind: 'user', userId });
  }

  async #fromRedis(userIds: readonly string[]): Promise<UserProfile[]> {
    try {
      const replies = await this.#breaker.execute(async () => {
        const pipeline = this.#redis.pipeline();
        for (const userId of userIds) pipeline.hget(key(userId), 'profile');
        return unwrap(await pipeline.exec());
      });
      return replies.flatMap((json) => {
        if (typeof json !== 'string') return [];
        const profile: unknown = JSON.parse(json);
        return isProfile(profile) ? [profile] : [];
      });
    } catch {
      return []; // Redis is away, or holds what is no profile: Postgres knows.
    }
  }

  async #fromPostgres(userIds: readonly string[]): Promise<UserProfile[]> {
    const rows = await this.#db<UserRow>('users')
      .select(...columns)
      .whereIn('id', userIds);
    return rows.map(toProfile);
  }

  async #remember(profiles: readonly UserProfile[]): Promise<void> {
    await this.#call.pipeline(
      profiles.map((profile) => [
        script,
        key(profile.userId),
        profile.revision,
        JSON.stringify(profile),
        LIFETIME_S,
      ]),
    );
  }
}
