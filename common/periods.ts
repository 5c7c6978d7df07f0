/** How long a board's scores count. Weeks are ISO weeks; every border is midnight UTC. */
export const periods = ['all', 'daily', 'weekly', 'monthly'] as const;
export type Period = (typeof periods)[number];

/** The span of one period: start inclusive, end exclusive, milliseconds since the epoch; `all` has no end. */
export interface Span {
  readonly startsAt: number;
  readonly endsAt: number | null;
}

const DAY_MS = 86_400_000;

/** The span of the period that holds an instant (ms since the epoch, >= 0). */
export function spanOf(period: Period, at: number): Span {
  if (period === 'all') return { startsAt: 0, endsAt: null };
  const day = Math.floor(at / DAY_MS) * DAY_MS;
  if (period === 'daily') return { startsAt: day, endsAt: day + DAY_MS };
  if (period === 'weekly') {
    // The epoch was a Thursday, so that Monday is three days after a multiple of seven less a week.
    const monday = day - ((day / DAY_MS + 3) % 7) * DAY_MS;
    return { startsAt: monday, endsAt: monday + 7 * DAY_MS };
  }
  const date = new Date(day);
  return {
    startsAt: Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1),
    endsAt: Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1),
  };
}
