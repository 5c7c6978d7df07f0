import { announceAll, type ChangeEvent, type EventListener } from '../../common/events.ts';
import type { Logger } from '../../common/logger.ts';
import { isTransient, type Database } from '../../common/postgres.ts';
import type { Queues } from '../../common/queues.ts';
import { isRedisAway, type Redis } from '../../common/redis.ts';
import type { ProfileCache } from '../../common/users/profile-cache.ts';
import { readProfiles } from '../../common/users/profiles.ts';

const EVERY_MS = 250;
const CHANGES_A_TURN = 200;

export interface UserOutboxDeps {
  readonly db: Database;
  readonly redis: Redis;
  readonly cache: ProfileCache;
  readonly queues: Queues;
  readonly log: Logger;
}

interface ChangeRow {
  user_id: string;
  revision: string;
  resync: boolean;
}

/**
 * Brings changes of users from the table `user_changes` to Redis and to every process: a few times a second, and at once when
 * one is announced. A change leaves the table when Redis has taken all of it, so that a Redis that was away is told on its
 * return. Any number of workers may do it at the same time.
 */
export class UserOutbox {
  readonly #deps: UserOutboxDeps;
  #timer: NodeJS.Timeout | undefined;
  #turn: Promise<void> | undefined;
  #again = false;

  constructor(deps: UserOutboxDeps) {
    this.#deps = deps;
  }

  async start(events: EventListener): Promise<void> {
    this.#timer = setInterval(() => this.#look(), EVERY_MS);
    await events.onChange((event) => {
      if (event.kind === 'user') this.#look();
    });
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#again = false;
    await this.#turn;
  }

  #look(): void {
    if (this.#turn) {
      this.#again = true;
      return;
    }
    this.#turn = this.#empty().finally(() => {
      this.#turn = undefined;
      if (!this.#again) return;
      this.#again = false;
      this.#look();
    });
  }

  async #empty(): Promise<void> {
    try {
      while ((await this.#take()) === CHANGES_A_TURN);
    } catch (error) {
      if (!isRedisAway(error) && !isTransient(error))
        this.#deps.log.error({ err: error }, 'changes of users could not be passed on; trying again');
    }
  }

  /** @returns how many changes were passed on */
  async #take(): Promise<number> {
    const { db, redis, cache, queues } = this.#deps;
    // In this order: Postgres, asked later, can only be ahead of what was noted, unless it lost something.
    const noted = await cache.newestRevision();
    const { rows: sequence } = await db.raw<{ rows: { newest: string | null }[] }>(
      `select pg_sequence_last_value('users_revision') as newest`,
    );
    const newest = Number(sequence[0]?.newest ?? 0);
    if (newest < noted) await this.#startOver(noted, newest);
    if (newest !== noted) await cache.noteNewestRevision(newest);

    const changes = await db<ChangeRow>('user_changes')
      .select('user_id', 'revision', 'resync')
      .orderBy('revision')
      .limit(CHANGES_A_TURN);
    if (changes.length === 0) return 0;
    const profiles = await readProfiles(
      db,
      changes.map((change) => change.user_id),
    );
    const existing = new Set(profiles.map(({ userId }) => userId));
    const gone = changes.filter((change) => !existing.has(change.user_id));
    await cache.remember(profiles);
    await cache.rememberGone(
      gone.map((change) => ({ userId: change.user_id, revision: Number(change.revision) })),
    );
    await announceAll(
      redis,
      changes.map((change): ChangeEvent => ({ kind: 'user', userId: change.user_id })),
    );
    // Off the boards, or back on them, in the user's own line: play that is under way cannot undo it.
    for (const change of changes) if (change.resync) await queues.enqueueResync(change.user_id);
    // Not those that changed again meanwhile.
    await db('user_changes')
      .whereIn(
        ['user_id', 'revision'],
        changes.map((change) => [change.user_id, change.revision]),
      )
      .delete();
    return changes.length;
  }

  /** Postgres is an older one than Redis has heard of: restored from a backup. Nothing that Redis knows of users holds. */
  async #startOver(noted: number, newest: number): Promise<void> {
    const { redis, cache, queues, log } = this.#deps;
    log.warn({ noted, newest }, 'Postgres is older than Redis: restored from a backup? Comparing everything');
    await cache.clear();
    await announceAll(redis, [{ kind: 'users' }]);
    await queues.requestMaintenance('reconcile', { trigger: 'restart' });
  }
}
