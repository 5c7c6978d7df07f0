import { announceAll, type ChangeEvent } from '../../common/events.ts';
import { delay } from '../../common/patience.ts';
import type { Database } from '../../common/postgres.ts';
import type { Redis } from '../../common/redis.ts';
import type { CachedProfile, ProfileCache } from '../../common/users/profile-cache.ts';
import { readProfiles, type UserProfile } from '../../common/users/profiles.ts';

export interface ReconcileProfilesDeps {
  readonly db: Database;
  readonly redis: Redis;
  readonly cache: ProfileCache;
  readonly signal: AbortSignal;
}

/** A difference may be a change on its way to Redis: it counts only if it is still there after this. */
const SETTLE_MS = 500;

interface Difference {
  readonly cached: CachedProfile;
  readonly truth: UserProfile | undefined;
}

/** Holds the profiles in Redis against Postgres, and puts right those that differ. @returns the users that differed */
export async function reconcileProfiles(deps: ReconcileProfilesDeps): Promise<string[]> {
  const { cache, redis } = deps;
  const suspects = new Map<string, Difference>();
  for await (const chunk of cache.all())
    for (const found of await differences(chunk, deps)) suspects.set(found.cached.userId, found);
  if (suspects.size === 0) return [];
  await delay(SETTLE_MS, deps.signal);
  const drifted: string[] = [];
  for (const { cached, truth } of await differences(
    [...suspects.values()].map((one) => one.cached),
    deps,
  ))
    if (await cache.repair(cached, truth)) drifted.push(cached.userId);
  await announceAll(
    redis,
    drifted.map((userId): ChangeEvent => ({ kind: 'user', userId })),
  );
  return drifted;
}

const CHUNK = 1000;

async function differences(
  all: readonly CachedProfile[],
  { db }: ReconcileProfilesDeps,
): Promise<Difference[]> {
  const found: Difference[] = [];
  for (let i = 0; i < all.length; i += CHUNK) {
    const chunk = all.slice(i, i + CHUNK);
    const profiles = await readProfiles(
      db,
      chunk.map(({ userId }) => userId),
    );
    const truths = new Map(profiles.map((profile) => [profile.userId, profile]));
    for (const cached of chunk) {
      const truth = truths.get(cached.userId);
      // That a user is gone stands there as an empty text.
      if (cached.json !== (truth ? JSON.stringify(truth) : '')) found.push({ cached, truth });
    }
  }
  return found;
}
