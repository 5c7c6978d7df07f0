import { loadScript, scriptCaller, serverRun, unwrap, type Redis } from '../redis.ts';
import { isProfile, type UserProfile } from './profiles.ts';

const scripts = {
  remember: loadScript(new URL('lua/remember_user.lua', import.meta.url), 1),
  repair: loadScript(new URL('lua/repair_user.lua', import.meta.url), 1),
};

const LIFETIME_S = 300;
const KEYS_A_SCAN = 1000;

/** A profile as Redis holds it: the exact text, and what it says if it says anything. */
export interface CachedProfile {
  readonly userId: string;
  readonly json: string;
  readonly profile: UserProfile | undefined;
}

/**
 * Profiles in Redis, for some minutes. They belong to one run of the Redis server, whose id is a part of their keys: a server
 * that was restarted, restored from an old dump, or replaced by a replica that lagged is asked for nothing that it held before.
 */
export class ProfileCache {
  readonly #redis: Redis;
  readonly #scripts: ReturnType<typeof scriptCaller>;
  #known: Promise<string> | undefined;

  constructor(redis: Redis) {
    this.#redis = redis;
    // The next connection may be to another server.
    redis.on('close', () => (this.#known = undefined));
    this.#scripts = scriptCaller(redis, Object.values(scripts));
  }

  /** What the keys begin with: asked once a connection. @throws when Redis is away */
  #prefix(): Promise<string> {
    if (this.#known) return this.#known;
    const asked = serverRun(this.#redis).then((run) => `${this.#redis.names.users}${run}:`);
    this.#known = asked;
    asked.catch(() => {
      if (this.#known === asked) this.#known = undefined;
    });
    return asked;
  }

  /** Calls back after every connection to a server, which may be another one than before. */
  onConnected(run: () => void): void {
    this.#redis.on('ready', run);
  }

  /** Profiles of those of the ids that Redis knows. @throws when Redis is away */
  async find(userIds: readonly string[]): Promise<UserProfile[]> {
    const cached = await this.#read(userIds);
    return cached.flatMap(({ profile }) => profile ?? []);
  }

  /** Takes profiles over, except those of which Redis knows a newer one. @throws when Redis is away */
  async remember(profiles: readonly UserProfile[]): Promise<void> {
    await this.#remember(profiles.map((one) => [one.userId, one.revision, JSON.stringify(one)]));
  }

  /** Takes over that users are gone since a revision, so that no slow reader brings them back. @throws when Redis is away */
  async rememberGone(
    users: readonly { readonly userId: string; readonly revision: number }[],
  ): Promise<void> {
    await this.#remember(users.map(({ userId, revision }) => [userId, revision, '']));
  }

  /** Puts right what differs from Postgres, unless it has changed since it was read. @returns whether it was put right */
  async repair({ userId, json }: CachedProfile, truth: UserProfile | undefined): Promise<boolean> {
    const reply = await this.#scripts.call(
      scripts.repair,
      (await this.#prefix()) + tag(userId),
      json,
      truth?.revision ?? 0,
      truth ? JSON.stringify(truth) : '',
      LIFETIME_S,
    );
    return reply === 1;
  }

  /** Everything that this run of the server holds, in chunks; a user may come twice. */
  async *all(): AsyncGenerator<CachedProfile[]> {
    const prefix = await this.#prefix();
    for await (const keys of this.#scan(`${prefix}*`)) {
      if (keys.length > 0) yield await this.#read(keys.map((key) => key.slice(prefix.length + 1, -1)));
    }
  }

  /** Forgets everything. */
  async clear(): Promise<void> {
    for await (const keys of this.#scan(`${this.#redis.names.users}*`))
      if (keys.length > 0) await this.#redis.unlink(keys);
  }

  /** The newest revision that was noted, 0 if none was. */
  async newestRevision(): Promise<number> {
    return Number(await this.#redis.get(this.#redis.names.newestUserRevision));
  }

  async noteNewestRevision(revision: number): Promise<void> {
    await this.#redis.set(this.#redis.names.newestUserRevision, revision);
  }

  async #read(userIds: readonly string[]): Promise<CachedProfile[]> {
    const prefix = await this.#prefix();
    const pipeline = this.#redis.pipeline();
    for (const userId of userIds) pipeline.hget(prefix + tag(userId), 'profile');
    return unwrap(await pipeline.exec()).flatMap((json, i) => {
      const userId = userIds[i];
      return typeof json === 'string' && userId !== undefined ? [{ userId, json, profile: parse(json) }] : [];
    });
  }

  async #remember(entries: readonly (readonly [userId: string, revision: number, json: string])[]) {
    const prefix = await this.#prefix();
    await this.#scripts.pipeline(
      entries.map(([userId, revision, json]) => [
        scripts.remember,
        prefix + tag(userId),
        revision,
        json,
        LIFETIME_S,
      ]),
    );
  }

  async *#scan(pattern: string): AsyncGenerator<string[]> {
    let cursor = '0';
    do {
      const [next, keys] = await this.#redis.scan(cursor, 'MATCH', pattern, 'COUNT', KEYS_A_SCAN);
      yield keys;
      cursor = next;
    } while (cursor !== '0');
  }
}

const tag = (userId: string): string => `{${userId}}`;

function parse(json: string): UserProfile | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return isProfile(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
