import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { Redis } from '../../common/redis.ts';
import { BoardIndex } from '../../common/board/board-index.ts';
import { boardAt } from '../../common/board/board.ts';
import { loadConfig } from '../../common/config.ts';
import { AccessTokens } from '../../common/identity/access-tokens.ts';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { periods } from '../../common/periods.ts';
import { eventually } from '../support/eventually.ts';
import { call, type Answer } from '../support/player.ts';
import type { Stores } from '../support/stores.ts';
import { environmentOf } from '../support/system.ts';

/** One action that a client tried to complete, and what it was told in the end. */
export interface Played {
  readonly userId: string;
  readonly actionId: string;
  /** the answer to the first attempt that was acknowledged */
  readonly status: number;
  readonly body: any;
}

const RETRY_MS = 100;
/** What a well-formed completion may be answered with while a store is away. */
const honest = [200, 202, 409, 429, 503];

/** Players without a password, who keep a log of every acknowledgement. */
export class Crowd {
  readonly userIds: readonly string[];
  /** In each user's own order. */
  readonly log: Played[] = [];
  /** Every status that a start or a completion was answered with. */
  readonly statuses = new Set<number>();
  readonly #tokens: AccessTokens;
  readonly #stores: Stores;

  private constructor(stores: Stores, userIds: readonly string[]) {
    this.#stores = stores;
    this.userIds = userIds;
    this.#tokens = new AccessTokens(loadConfig(environmentOf(stores)));
  }

  static async of(size: number, stores: Stores, name = 'crowd'): Promise<Crowd> {
    const userIds = Array.from({ length: size }, (_, i) => `${name}-${i}`);
    await withDatabase(stores, (db) =>
      db.raw(
        `insert into users (id, username, username_key) select id, id, id from unnest(:userIds::text[]) as u(id)`,
        { userIds },
      ),
    );
    return new Crowd(stores, userIds);
  }

  token(userId: string): string {
    return this.#tokens.issue({ userId, username: userId, role: 'player', sessionId: 'none', epoch: 0 })
      .token;
  }

  /** Sends until the answer is one that ends the matter. A refused connection is a try like any other. */
  async persist(send: () => Promise<Answer>, ends: (answer: Answer) => boolean): Promise<Answer> {
    for (;;) {
      const answer = await send().catch(() => undefined);
      if (answer) {
        this.statuses.add(answer.status);
        if (!honest.includes(answer.status) && answer.status !== 201)
          throw new Error(`answered ${answer.status}: ${JSON.stringify(answer.body)}`);
        if (ends(answer)) return answer;
      }
      await delay(RETRY_MS);
    }
  }

  /** Starts an action and completes it, trying again until the server has said what became of it. */
  async playOne(api: string, userId: string, headers: Record<string, string> = {}): Promise<Played> {
    const token = this.token(userId);
    const started = await this.persist(
      () => call(api, 'POST', '/actions', { token, body: { type: 'COMPLETE_TASK', leaderboard: 'game1' } }),
      ({ status }) => status === 201,
    );
    const { actionId, actionToken } = started.body;
    const answer = await this.persist(
      () => call(api, 'POST', `/actions/${actionId}/complete`, { token, body: { actionToken }, headers }),
      ({ status, body }) =>
        status === 200 || status === 202 || (status === 409 && body.code === 'ACTION_ALREADY_COMPLETED'),
    );
    const played = { userId, actionId, status: answer.status, body: answer.body };
    this.log.push(played);
    return played;
  }

  /** Has everyone play, one action after another, until told to stop. */
  playOn(apis: readonly string[], headers: Record<string, string> = {}): { stop: () => Promise<void> } {
    const end = new AbortController();
    const players = Promise.all(
      this.userIds.map(async (userId, i) => {
        for (let n = i; !end.signal.aborted; n += 1)
          await this.playOne(apis[n % apis.length]!, userId, headers);
      }),
    );
    players.catch(() => undefined); // told by stop()
    return {
      stop: async () => {
        end.abort();
        await players;
      },
    };
  }

  /**
   * Asserts that what clients were told, the ledger, the score rows and Redis say the same, to the point, and that each
   * user's completions were applied in the order in which they were acknowledged.
   */
  async expectAgreement(timeoutMs = 30_000): Promise<void> {
    await withDatabase(this.#stores, async (db) => {
      await eventually(() => this.#expectLedger(db), { timeoutMs, everyMs: 100 });
      await expectScores(db);
      await eventually(() => expectIndex(db, this.#stores.redis.url), { timeoutMs: 15_000, everyMs: 100 });
    });
  }

  async #expectLedger(db: Database): Promise<void> {
    const { rows } = await db.raw(
      `select id, action_id, user_id, before::int, after::int, delta::int from ledger
       where user_id = any (:userIds) and kind = 'completion' order by user_id, after`,
      { userIds: [...this.userIds] },
    );
    const ledger = byUser(rows as any[], (row) => row.user_id);
    const log = byUser(this.log, ({ userId }) => userId);
    for (const userId of this.userIds) {
      const entries = ledger.get(userId) ?? [];
      const told = log.get(userId) ?? [];
      expect(entries.map(({ action_id }) => action_id)).to.deep.equal(
        told.map(({ actionId }) => actionId),
        `${userId}: the ledger is not what was acknowledged, in that order`,
      );
      entries.forEach((entry, i) => {
        expect(entry.before).to.equal(
          entries[i - 1]?.after ?? 0,
          'an entry does not go on from the one before',
        );
        const { status, body } = told[i]!;
        const result = status === 200 ? body : body.result;
        if (!result) return;
        expect(result.score).to.deep.equal({
          previous: entry.before,
          current: entry.after,
          delta: entry.delta,
        });
        expect(result.transactionId).to.equal(entry.id);
      });
    }
    const { rows: open } = await db.raw(
      `select count(*)::int as n from actions where user_id = any (:userIds) and status <> 'completed'
       and id = any (:ids)`,
      { userIds: [...this.userIds], ids: this.log.map(({ actionId }) => actionId) },
    );
    expect(open[0].n).to.equal(0, 'an acknowledged action is not completed');
  }
}

function byUser<T>(items: readonly T[], userOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(userOf(item), [...(groups.get(userOf(item)) ?? []), item]);
  return groups;
}

/** Asserts that every score row is the sum of the ledger's entries for it. */
export async function expectScores(db: Database): Promise<void> {
  const { rows } = await db.raw(`
    with gains as (
      select b.id, l.user_id, sum(case when b.leaderboard = l.leaderboard then l.delta else l.global_delta end) as score
      from ledger l
      join board_periods b on b.leaderboard in (l.leaderboard, 'global') and l.accepted_at >= b.starts_at
        and (b.ends_at is null or l.accepted_at < b.ends_at)
      group by b.id, l.user_id)
    select coalesce(g.user_id, s.user_id) as user_id, g.score as ledger, s.score as scores
    from gains g full join scores s on s.board_period_id = g.id and s.user_id = g.user_id
    where coalesce(g.score, 0) <> coalesce(s.score, 0)`);
  expect(rows).to.deep.equal([], 'score rows that are not the sum of their ledger entries');
}

/** Asserts that every open board in Redis holds exactly the score rows of Postgres, in both of its keys. */
async function expectIndex(db: Database, redisUrl: string): Promise<void> {
  const redis = new Redis(redisUrl, { maxRetriesPerRequest: 0, retryStrategy: () => null });
  redis.on('error', () => undefined);
  try {
    const index = new BoardIndex(redis);
    for (const leaderboard of ['global', 'game1']) {
      for (const period of periods) {
        const board = boardAt(leaderboard, period, Date.now());
        const { rows } = await db.raw(
          `select s.user_id, s.score::int, epoch_ms(s.reached_at) as at from scores s join board_periods b on b.id = s.board_period_id
           where b.leaderboard = :leaderboard and b.period = :period and b.starts_at = from_epoch_ms(:startsAt)
           order by s.score desc, s.reached_at, s.user_id collate "C"`,
          { leaderboard, period, startsAt: board.startsAt },
        );
        const held: unknown[] = [];
        for await (const chunk of index.rows(board, 5000)) held.push(...chunk);
        const name = `${leaderboard} ${period} in Redis`;
        expect(held).to.deep.equal(
          rows.map((row: any) => ({
            userId: row.user_id,
            score: row.score,
            reachedAt: Number(row.at),
            named: true,
          })),
          name,
        );
        expect((await index.page(board, 0, 1)).total).to.equal(rows.length, name);
      }
    }
  } finally {
    redis.disconnect();
  }
}

export async function withDatabase<T>(stores: Stores, use: (db: Database) => Promise<T>): Promise<T> {
  const db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 3 }, 'test');
  try {
    return await use(db);
  } finally {
    await db.destroy();
  }
}

/** Resolves when the crowd has been acknowledged so many more completions. */
export async function progress(crowd: Crowd, more: number, timeoutMs = 20_000): Promise<void> {
  const goal = crowd.log.length + more;
  await eventually(() => expect(crowd.log.length).to.be.at.least(goal), { timeoutMs });
}
