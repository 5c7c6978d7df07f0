import { GLOBAL_BOARD } from '../../common/board/board.ts';
import type { Database } from '../../common/postgres.ts';

export interface History {
  readonly points: readonly { readonly date: string; readonly score: number; readonly gain: number }[];
  readonly trend: 'increasing' | 'decreasing' | 'flat';
  readonly averageDailyGain: number;
}

const DAY_MS = 86_400_000;
const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10);

/**
 * A user's score day by day (UTC): every day of the window, today last, with the running total at its end and what it gained.
 * From the daily sums, and from the ledger what they do not have yet: both of one snapshot. On global every entry counts by what it
 * changed there; elsewhere only the board's own entries count.
 *
 * @param days length of the window
 */
export async function readHistory(
  db: Database,
  userId: string,
  leaderboard: string,
  days: number,
): Promise<History> {
  const first = Math.floor(Date.now() / DAY_MS) * DAY_MS - (days - 1) * DAY_MS;
  const isGlobal = leaderboard === GLOBAL_BOARD;
  const { rows } = await db.raw<{ rows: { day: string | null; gain: string }[] }>(
    `select case when day >= :first then to_char(day, 'YYYY-MM-DD') end as day, sum(gain) as gain
     from (
       select day, gain from daily_gains where user_id = :userId and leaderboard = :leaderboard
       union all
       select (accepted_at at time zone 'UTC')::date, ${isGlobal ? 'global_delta' : 'delta'}
       from ledger
       where user_id = :userId and seq > (select summed from daily_gains_mark) ${isGlobal ? '' : 'and leaderboard = :leaderboard'}
     ) gains
     group by 1`,
    { first: dayOf(first), userId, leaderboard },
  );
  const gains = new Map(rows.map(({ day, gain }) => [day, Number(gain)]));
  let score = gains.get(null) ?? 0;
  const points = Array.from({ length: days }, (_, i) => {
    const date = dayOf(first + i * DAY_MS);
    const gain = gains.get(date) ?? 0;
    score += gain;
    return { date, score, gain };
  });
  const total = points.reduce((sum, { gain }) => sum + gain, 0);
  return {
    points,
    trend: total > 0 ? 'increasing' : total < 0 ? 'decreasing' : 'flat',
    averageDailyGain: Math.round((total / days) * 100) / 100,
  };
}
