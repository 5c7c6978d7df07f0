import { LRUCache } from 'lru-cache';
import { Batcher } from '../batcher.ts';
import { announce, type EventListener } from '../events.ts';
import type { Database } from '../postgres.ts';
import { redisBreaker, type Redis } from '../redis.ts';
import { ProfileCache } from './profile-cache.ts';
import { readProfiles, type UserProfile } from './profiles.ts';

export type { Role, UserProfile } from './profiles.ts';

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
  readonly #cache: ProfileCache;
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
    this.#cache = new ProfileCache(redis);
  }

  /** Forgets users whose profile changed, as soon as it is announced; and everybody when an announcement may have been lost. */
  async start(events: EventListener): Promise<void> {
    await events.onChange((event) => {
      if (event.kind === 'user') this.#forget(event.userId);
      if (event.kind === 'users') this.#forgetAll();
    });
    events.onResumed(() => this.#forgetAll());
    this.#cache.onConnected(() => this.#forgetAll());
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
      const profiles = await readProfiles(this.#db, unknown);
      for (const profile of profiles) found.set(profile.userId, profile);
      // Nobody waits for this: a frozen Redis must not hold up what Postgres has answered.
      void this.#cache.remember(profiles).catch(() => undefined);
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

  #forgetAll(): void {
    this.#changes += 1;
    this.#memory.clear();
  }

  /**
   * Tells Redis and every process of a profile that has just been committed, sooner than the workers do from the outbox.
   * Nothing depends on it, so that it never fails.
   */
  async changed(userId: string): Promise<void> {
    this.#forget(userId);
    await readProfiles(this.#db, [userId])
      .then((profiles) => this.#cache.remember(profiles))
      .catch(() => undefined);
    await announce(this.#redis, { kind: 'user', userId });
  }

  async #fromRedis(userIds: readonly string[]): Promise<UserProfile[]> {
    // While Redis is away, Postgres knows.
    return this.#breaker.execute(() => this.#cache.find(userIds)).catch(() => []);
  }
}
