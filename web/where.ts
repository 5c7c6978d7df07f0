import type { Period } from '../client/index.ts';

const PERIODS: readonly Period[] = ['all', 'daily', 'weekly', 'monthly'];

/** Which board is shown; kept in the address, so that it can be shared and survives a reload. */
export interface Where {
  leaderboard: string;
  period: Period;
  /** a day of a period that is over, YYYY-MM-DD; null for the current one */
  date: string | null;
}

/** @param search what the address has after its path */
export function whereFrom(search: string): Where {
  const query = new URLSearchParams(search);
  const period = PERIODS.find((known) => known === query.get('period')) ?? 'all';
  const date = query.get('date');
  return {
    leaderboard: query.get('board') || 'global',
    period,
    date: period !== 'all' && date ? date : null,
  };
}

/** The address that {@link whereFrom} reads. */
export function addressOf({ leaderboard, period, date }: Where): string {
  return `?${new URLSearchParams({ board: leaderboard, period, ...(date !== null && { date }) })}`;
}
