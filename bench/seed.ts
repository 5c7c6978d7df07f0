import { spanOf, type Period } from '../common/periods.ts';
import type { BoardRef } from '../common/board/board.ts';
import { withDatabase } from './stores.ts';

/** A user id as the n-th user of a seeded board bears it: 36 characters, as ids of Laurel's own have. */
const userId = (n: string): string => `md5(${n}::text)::uuid::text`;

/** Makes so many users, fast, and the same ones every time. */
export async function seedUsers(databaseUrl: string, count: number): Promise<void> {
  await withDatabase(databaseUrl, (db) =>
    db.raw(
      `insert into users (id, username, username_key)
       select ${userId('n')}, 'user-' || n, 'user-' || n from generate_series(1, :count::int) n on conflict do nothing`,
      { count },
    ),
  );
}

/**
 * Gives the first so many users a score on a board, spread as players' scores are: many low, few high, with ties.
 *
 * @returns the board
 */
export async function seedScores(
  databaseUrl: string,
  leaderboard: string,
  period: Period,
  count: number,
): Promise<BoardRef> {
  const board = { leaderboard, period, ...spanOf(period, Date.now()) };
  await withDatabase(databaseUrl, async (db) => {
    await db.raw(
      `insert into board_periods (leaderboard, period, starts_at, ends_at)
       values (:leaderboard, :period, period_start(:period, now()), period_end(:period, period_start(:period, now())))
       on conflict do nothing`,
      { leaderboard, period },
    );
    await db.raw(
      `insert into scores (board_period_id, user_id, score, reached_at)
       select b.id, ${userId('n')}, 10 * (1 + (99999 * power(mod(n::bigint * 7919, 1000003) / 1000003.0, 3))::bigint),
         now() - n * interval '1 millisecond'
       from generate_series(1, :count::int) n,
         (select id from board_periods where leaderboard = :leaderboard and period = :period and starts_at = period_start(:period, now())) b`,
      { leaderboard, period, count },
    );
    await db.raw('analyze users, scores, board_periods');
  });
  return board;
}
