import type { Logger } from '../../common/logger.ts';
import type { Database } from '../../common/postgres.ts';
import { parsePartitionJob, type Queues } from '../../common/queues.ts';
import { announce } from '../../common/events.ts';
import type { Redis } from '../../common/redis.ts';

/** An acceptance is in its queue, or refused, at the latest this long after it was given its time, milliseconds. */
const ENQUEUE_MARGIN_MS = 5000;
/** An operator who closes a period waits for its standings. What comes in later still counts, and corrects them. */
const OPERATOR_MARGIN_MS = 300;
/** What has waited for so long is not waited for any more: if it can be applied one day, it corrects the standings. */
const WAITS_AT_MOST_S = 3600;
/** From here on a period is late, and the log says so, milliseconds. */
const LATE_MS = 120_000;
const PERIODS_A_RUN = 200;

interface DuePeriod {
  readonly id: number;
  readonly leaderboard: string;
  readonly period: string;
  readonly ends_at: Date | null;
  readonly closed_at: Date | null;
  readonly closes_at: Date | null;
}

export interface ClosedPeriods {
  /** how many periods this run archived */
  readonly archived: number;
  /** for how long the period that is due the longest has waited, seconds; 0 for none */
  readonly lateSeconds: number;
}

/**
 * Closes periods that have ended, and leaderboards past their end, once every completion accepted in them has been applied,
 * and freezes their standings. Time is Redis's, which stamps completions. Any number of closers may run at once, and may die
 * at any step: the database lets each step happen once.
 *
 * @param most how many places are kept, 0 = all
 */
export async function closePeriods(deps: {
  db: Database;
  redis: Redis;
  queues: Queues;
  log: Logger;
  most: number;
}): Promise<ClosedPeriods> {
  const { db, redis, queues, log, most } = deps;
  const [seconds, micros] = await redis.time();
  const now = Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
  const passed = new Date(now - ENQUEUE_MARGIN_MS);
  // Closed periods that are not frozen, those whose time is over, and all-time boards of leaderboards past their end.
  const { rows: due } = await db.raw<{ rows: DuePeriod[] }>(
    `select bp.id, bp.leaderboard, bp.period, bp.ends_at, bp.closed_at, case when bp.period = 'all' then b.closes_at end as closes_at
     from board_periods bp join leaderboards b on b.key = bp.leaderboard
     where bp.archived_at is null
       and (bp.closed_at is not null or bp.ends_at <= :passed or (bp.period = 'all' and b.closes_at <= :passed))
     order by coalesce(bp.closed_at, bp.ends_at, b.closes_at) limit :most`,
    { passed, most: PERIODS_A_RUN },
  );
  if (due.length === 0) return { archived: 0, lateSeconds: 0 };
  const pending = await pendingSince(db, queues);
  let archived = 0;
  let lateMs = 0;
  for (const { id, leaderboard, period, ends_at: endsAt, closed_at: closedAt, closes_at: closesAt } of due) {
    const cut = (closedAt ?? endsAt ?? closesAt)?.getTime() ?? now;
    const isApplied =
      now >= cut + OPERATOR_MARGIN_MS && cut <= Math.min(pending.of(leaderboard), pending.of(undefined));
    if (!isApplied) {
      lateMs = Math.max(lateMs, now - cut);
      if (now - cut > LATE_MS)
        log.warn(
          { leaderboard, period, endedAt: new Date(cut) },
          'a period waits for completions to be applied',
        );
      continue; // next time
    }
    if (!closedAt) await db.raw('select close_board_period(?, ?)', [id, cut]);
    const { rows } = await db.raw<{ rows: { done: boolean }[] }>(
      'select archive_board_period(?, ?) as done',
      [id, most],
    );
    if (!rows[0]?.done) continue;
    archived += 1;
    // Processes keep in memory which of the present boards are frozen.
    if (endsAt === null || endsAt.getTime() > now) await announce(redis, { kind: 'catalog' });
    log.info({ leaderboard, period, endsAt: new Date(cut) }, 'period closed, standings frozen');
  }
  return { archived, lateSeconds: Math.round(lateMs / 1000) };
}

/**
 * When the oldest completion that is not applied yet was accepted, ms since the epoch; Infinity without any. Of rows in
 * Postgres the leaderboard is known, so that they hold up that one and global alone; `undefined` asks for jobs of any.
 */
async function pendingSince(
  db: Database,
  queues: Queues,
): Promise<{ of: (leaderboard: string | undefined) => number }> {
  const { rows } = await db.raw<{ rows: { leaderboard: string | null; oldest: Date }[] }>(
    `select coalesce(a.leaderboard, q.payload -> 'client' ->> 'leaderboard') as leaderboard, min(q.accepted_at) as oldest
     -- Those that were set aside are waited for no more.
     from queued_completions q left join actions a on a.id = q.action_id
     where q.enqueued_at > now() - make_interval(secs => ?) and q.dead_at is null
     group by 1`,
    [WAITS_AT_MOST_S],
  );
  const inPostgres = new Map(rows.map(({ leaderboard, oldest }) => [leaderboard, oldest.getTime()]));
  const oldestRow = Math.min(Infinity, ...inPostgres.values());
  const unnamed = inPostgres.get(null) ?? Infinity;
  let oldestJob = Infinity;
  const since = Date.now() - WAITS_AT_MOST_S * 1000;
  for (const queue of queues.partitions) {
    // A line is in order: what is active, and the first that waits, are the oldest of it.
    const [active, waiting] = await Promise.all([
      queue.getJobs(['active']),
      queue.getJobs(['waiting'], 0, 0, true),
    ]);
    for (const job of [...active, ...waiting]) {
      try {
        const payload = parsePartitionJob(job.data);
        if (payload.kind !== 'resync' && job.timestamp > since)
          oldestJob = Math.min(oldestJob, payload.acceptedAt);
      } catch {
        continue; // it will fail, and counts nowhere
      }
    }
  }
  return {
    of: (leaderboard) => {
      if (leaderboard === undefined) return oldestJob;
      if (leaderboard === 'global') return oldestRow;
      return Math.min(inPostgres.get(leaderboard) ?? Infinity, unnamed);
    },
  };
}
