import Joi from 'joi';
import { LRUCache } from 'lru-cache';
import { announce, type EventListener } from '../events.ts';
import type { Database } from '../postgres.ts';
import { loadScript, scriptCaller, unwrap, type Redis } from '../redis.ts';

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
  /** ms since the epoch of the last change: the newer of two profiles is the true one */
  readonly revision: number;
}

const profileSchema = Joi.object<UserProfile>({
  userId: Joi.string().required(),
  username: Joi.string().required(),
  avatarUrl: Joi.string().allow(null).required(),
  role: Joi.valid('player', 'admin').required(),
  banned: Joi.boolean().required(),
  erased: Joi.boolean().required(),
  allowSpectators: Joi.boolean().required(),
  createdAt: Joi.number().required(),
  revision: Joi.number().required(),
});

interface UserRow {
  id: string;
  username: string;
  avatar_url: string | null;
  role: Role;
  banned_at: Date | null;
  erased_at: Date | null;
  allow_spectators: boolean;
  created_at: Date;
  updated_at: Date;
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
  'updated_at',
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
  revision: row.updated_at.getTime(),
});

const key = (userId: string): string => `laurel:user:{${userId}}`;
const script = loadScript(new URL('lua/remember_user.lua', import.meta.url), 1);

const LIFETIME_S = 7 * 86_400;
/** In memory for this long without an event: bounds what a missed event can do. */
const MEMORY_MS = 5000;
const MEMORY_USERS = 50_000;

/** Profiles by id: from memory, else Redis, else Postgres. Answers while any one of the stores is away, if it can. */
export class UserDirectory {
  readonly #db: Database;
  readonly #redis: Redis;
  readonly #call: ReturnType<typeof scriptCaller>;
  readonly #memory = new LRUCache<string, UserProfile>({ max: MEMORY_USERS, ttl: MEMORY_MS });

  constructor(db: Database, redis: Redis) {
    this.#db = db;
    this.#redis = redis;
    this.#call = scriptCaller(redis, [script]);
  }

  /** Forgets users whose profile changed, as soon as it is announced. */
  async start(events: EventListener): Promise<void> {
    await events.onChange((event) => {
      if (event.kind === 'user') this.#memory.delete(event.userId);
    });
    events.onResumed(() => this.#memory.clear());
  }

  /** @returns undefined for a user that does not exist @throws when it is not known and the stores are away */
  async find(userId: string): Promise<UserProfile | undefined> {
    return this.#memory.get(userId) ?? (await this.findMany([userId])).get(userId);
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
    for (const profile of await this.#fromRedis(missing)) found.set(profile.userId, profile);
    const unknown = missing.filter((userId) => !found.has(userId));
    if (unknown.length > 0)
      for (const profile of await this.#fromPostgres(unknown)) found.set(profile.userId, profile);
    for (const userId of missing) {
      const profile = found.get(userId);
      if (profile) this.#memory.set(userId, profile);
    }
    return found;
  }

  /** Takes a profile that has just been written to Postgres into Redis, and tells every process. */
  async changed(userId: string): Promise<void> {
    this.#memory.delete(userId);
    await this.#fromPostgres([userId]);
    await announce(this.#redis, { kind: 'user', userId });
  }

  async #fromRedis(userIds: readonly string[]): Promise<UserProfile[]> {
    try {
      const pipeline = this.#redis.pipeline();
      for (const userId of userIds) pipeline.hget(key(userId), 'profile');
      return unwrap(await pipeline.exec()).flatMap((json) => {
        if (typeof json !== 'string') return [];
        const { value, error } = profileSchema.validate(JSON.parse(json), { convert: false });
        return error ? [] : [value];
      });
    } catch {
      return []; // Redis is away, or holds what is no profile: Postgres knows.
    }
  }

  async #fromPostgres(userIds: readonly string[]): Promise<UserProfile[]> {
    const rows = await this.#db<UserRow>('users')
      .select(...columns)
      .whereIn('id', userIds);
    const profiles = rows.map(toProfile);
    await this.#remember(profiles).catch(() => undefined);
    return profiles;
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
