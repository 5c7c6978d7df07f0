import type { Database } from '../../common/postgres.ts';

/** Entries that one statement adds: a second's work at most. */
const ENTRIES_A_STEP = 50_000;

/**
 * Adds ledger entries that are new since the last run to the daily sums, see `sum_daily_gains`. A process that dies between two
 * steps loses nothing: each is a transaction.
 *
 * @returns how many entries this run went on by
 */
export async function sumDailyGains(db: Database, signal?: AbortSignal): Promise<number> {
  let total = 0;
  while (!signal?.aborted) {
    const { rows } = await db.raw<{ rows: { entries: string }[] }>('select sum_daily_gains(?) as entries', [
      ENTRIES_A_STEP,
    ]);
    const entries = Number(rows[0]?.entries ?? 0);
    total += entries;
    if (entries === 0) break;
  }
  return total;
}
