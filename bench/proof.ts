import { setTimeout as delay } from 'node:timers/promises';
import { BoardIndex } from '../common/board/board-index.ts';
import { BoardTable } from '../common/board/board-table.ts';
import { boardAt, boardId } from '../common/board/board.ts';
import { periods } from '../common/periods.ts';
import type { Database } from '../common/postgres.ts';
import { withDatabase, withRedis, type BenchStores } from './stores.ts';

const SETTLE_MS = 10_000;
const CHUNK_ROWS = 10_000;
/** Those that are seeded. */
const LEADERBOARDS = ['global', 'game1', 'game2'];

/** What the answers of a whole run said. */
export interface Told {
  /** the sum of what the 200s were worth */
  readonly points: number;
  /** how many were answered 202, whose worth nobody has been told */
  readonly queued: number;
}

/**
 * Holds what clients were told against the ledger, the ledger against the scores, and the scores against Redis.
 *
 * @param told when given, the points of the answers are held against the ledger too
 * @returns what does not agree: nothing, if all is well
 */
export async function findDisagreements(
  stores: BenchStores,
  acknowledged: readonly string[],
  told?: Told,
): Promise<string[]> {
  return withDatabase(stores.databaseUrl, async (db) => {
    // What was answered 202 may still be on its way.
    let faults = await ledgerFaults(db, acknowledged);
    for (
      const deadline = Date.now() + SETTLE_MS;
      faults.length > 0 && Date.now() < deadline;
      await delay(200)
    )
      faults = await ledgerFaults(db, acknowledged);
    if (told) faults.push(...(await pointsFaults(db, told)));
    faults.push(...(await scoreFaults(db)));
    faults.push(...(await indexFaults(db, stores.redisUrl)));
    return faults;
  });
}

async function ledgerFaults(db: Database, acknowledged: readonly string[]): Promise<string[]> {
  const { rows } = await db.raw<{ rows: { total: number; held: number }[] }>(
    `select count(*)::int as total, count(a.id)::int as held
     from ledger l left join unnest(:acknowledged::text[]) as a(id) on a.id = l.action_id where l.kind = 'completion'`,
    { acknowledged: [...acknowledged] },
  );
  const { total, held } = rows[0] ?? { total: 0, held: 0 };
  if (total === held && held === acknowledged.length) return [];
  return [
    `${acknowledged.length} completions were acknowledged, ${held} of them stand in the ledger of ${total}`,
  ];
}

/** Every play is worth the same, so that those answered 202 are worth so many times that. */
async function pointsFaults(db: Database, { points, queued }: Told): Promise<string[]> {
  const { rows } = await db.raw<{ rows: { points: string | null; each: string | null }[] }>(
    `select sum(delta) as points, max(delta) as each from ledger where kind = 'completion'`,
  );
  const held = Number(rows[0]?.points ?? 0);
  const expected = points + queued * Number(rows[0]?.each ?? 0);
  return held === expected ? [] : [`the answers told of ${expected} points, the ledger holds ${held}`];
}

async function scoreFaults(db: Database): Promise<string[]> {
  const { rows } = await db.raw<{ rows: { n: number }[] }>(`
    with gains as (
      select b.id, l.user_id, sum(case when b.leaderboard = l.leaderboard then l.delta else l.global_delta end) as score
      from ledger l join board_periods b on b.leaderboard in (l.leaderboard, 'global') and l.accepted_at >= b.starts_at
        and (b.ends_at is null or l.accepted_at < b.ends_at)
      group by b.id, l.user_id)
    select count(*)::int as n from gains g full join scores s on s.board_period_id = g.id and s.user_id = g.user_id
    where coalesce(g.score, 0) <> coalesce(s.score, 0)`);
  const n = rows[0]?.n ?? 0;
  return n === 0 ? [] : [`${n} score rows are not the sum of the ledger`];
}

async function indexFaults(db: Database, redisUrl: string): Promise<string[]> {
  return withRedis(redisUrl, async (redis) => {
    const [index, table] = [new BoardIndex(redis), new BoardTable(db)];
    const faults: string[] = [];
    for (const leaderboard of LEADERBOARDS) {
      for (const period of periods) {
        const board = boardAt(leaderboard, period, Date.now());
        const [inRedis, inPostgres] = await Promise.all([
          lines(index.rows(board, CHUNK_ROWS)),
          lines(table.rows(board, CHUNK_ROWS)),
        ]);
        const differ = inRedis.filter((line, i) => line !== inPostgres[i]).length;
        if (differ > 0 || inRedis.length !== inPostgres.length)
          faults.push(
            `${boardId(board)}: Redis holds ${inRedis.length} entries, Postgres ${inPostgres.length}; ${differ} differ`,
          );
      }
    }
    return faults;
  });
}

async function lines(
  chunks: AsyncIterable<readonly { userId: string; score: number; reachedAt: number }[]>,
): Promise<string[]> {
  const all: string[] = [];
  for await (const chunk of chunks)
    for (const { userId, score, reachedAt } of chunk) all.push(`${userId} ${score} ${reachedAt}`);
  return all;
}
