import type { Logger } from '../../common/logger.ts';
import type { Database } from '../../common/postgres.ts';
import { parsePartitionJob, type Queues } from '../../common/queues.ts';

/** An acceptance is in its queue, or refused, at the latest this long after it was given its time, milliseconds. */
const ENQUEUE_MARGIN_MS = 5000;
const PERIODS_A_RUN = 200;

interface DuePeriod {
  id: number;
  leaderboard: string;
  period: string;
  ends_at: Date | null;
  closed_at: Date | null;
}

/**
 * Closes periods that have ended, once every completion accepted in them has been applied, and freezes their standings.
 * Any number of closers may run at once, and may die at any step: the database lets each step happen once.
 *
 * @param most how many places are kept, 0 = all
 * @returns how many periods this run archived
 */
export async function closePeriods(deps: {
  db: Database;
  queues: Queues;
  log: Logger;
  most: number;
}): Promise<number> {
  const { db, queues, log, most } = deps;
  const due = await db<DuePeriod & { archived_at: Date | null }>('board_periods')
    .whereNull('archived_at')
    .andWhere((query) =>
      query.whereNotNull('closed_at').orWhere('ends_at', '<=', new Date(Date.now() - ENQUEUE_MARGIN_MS)),
    )
    .orderBy('ends_at')
    .limit(PERIODS_A_RUN)
    .select('id', 'leaderboard', 'period', 'ends_at', 'closed_at');
  if (due.length === 0) return 0;
  const pending = await oldestPending(db, queues);
  let archived = 0;
  for (const { id, leaderboard, period, ends_at: endsAt, closed_at: closedAt } of due) {
    if (!closedAt && endsAt && pending < endsAt.getTime()) continue; // next time
    if (!closedAt && endsAt) await db.raw('select close_board_period(?, ?)', [id, endsAt.getTime()]);
    const { rows } = await db.raw<{ rows: { done: boolean }[] }>(
      'select archive_board_period(?, ?) as done',
      [id, most],
    );
    if (!rows[0]?.done) continue;
    archived += 1;
    log.info({ leaderboard, period, endsAt }, 'period closed, standings frozen');
  }
  return archived;
}

/** When the oldest completion that is not applied yet was accepted, ms since the epoch; Infinity without any. */
async function oldestPending(db: Database, queues: Queues): Promise<number> {
  const times: number[] = [];
  const { rows } = await db.raw<{ rows: { oldest: Date | null }[] }>(
    `select min(accepted_at) as oldest from (
       select accepted_at from queued_completions where dead_at is null
       union all select accepted_at from queued_corrections where dead_at is null
     ) accepted`,
  );
  if (rows[0]?.oldest) times.push(rows[0].oldest.getTime());
  for (const queue of queues.partitions) {
    // A line is in order: what is active, and the first that waits, are the oldest of it.
    const [active, waiting] = await Promise.all([
      queue.getJobs(['active']),
      queue.getJobs(['waiting'], 0, 0, true),
    ]);
    for (const job of [...active, ...waiting]) {
      try {
        const payload = parsePartitionJob(job.data);
        if (payload.kind !== 'resync') times.push(payload.acceptedAt);
      } catch {
        continue; // it will fail, and counts nowhere
      }
    }
  }
  return times.length > 0 ? Math.min(...times) : Infinity;
}
