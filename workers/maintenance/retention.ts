import type { Database } from '../../common/postgres.ts';

/** Metadata of an action that never counted is of no use to anybody after this long, days. */
const UNCOUNTED_METADATA_DAYS = 7;
const ROWS_A_STEP = 5000;

const METADATA_MARK = 'metadata of actions that never counted';
/** Of metadata, a run looks at what has come of age since the last run, and at least at this many actions. */
const METADATA_LOOKBACK_ROWS = 100_000;

/** Each changes up to `:most` rows that have come of age by `:days`. */
const addresses = {
  actions: `
    update actions set ip = null, user_agent = null
    where id in (
      select id from actions
      where (ip is not null or user_agent is not null) and started_at < now() - make_interval(days => :days)
      order by started_at limit :most
    )`,
  queued: `
    update queued_completions set payload = payload || '{"ip": null, "userAgent": null}'
    where (action_id, user_id) in (
      select action_id, user_id from queued_completions
      where (payload ->> 'ip' is not null or payload ->> 'userAgent' is not null)
        and accepted_at < now() - make_interval(days => :days)
      limit :most
    )`,
  auditLog: 'select clear_audit_addresses(:days, :most) as cleared',
};

/**
 * Clears personal data that is older than it may be kept, however long ago it came of age: whether the time was shortened, or
 * nobody cleared anything for a while.
 *
 * @param privacyDays how long IP addresses and user agents are kept
 * @returns how many rows were cleared
 */
export async function forget(
  db: Database,
  privacyDays: number,
  signal?: AbortSignal,
): Promise<{ addresses: number; metadata: number }> {
  let cleared = 0;
  for (const statement of Object.values(addresses)) {
    for (let changed = ROWS_A_STEP; changed === ROWS_A_STEP && !signal?.aborted; cleared += changed) {
      const { rows, rowCount } = await db.raw<{ rows: { cleared?: number }[]; rowCount: number }>(statement, {
        days: privacyDays,
        most: ROWS_A_STEP,
      });
      changed = rows[0]?.cleared ?? rowCount;
    }
  }
  return { addresses: cleared, metadata: await forgetMetadata(db, signal) };
}

/**
 * Metadata of actions that counted is kept and stands in the same index, so this goes forward in time from a mark, in steps of
 * {@link ROWS_A_STEP} rows.
 */
async function forgetMetadata(db: Database, signal: AbortSignal | undefined): Promise<number> {
  const { rows } = await db.raw<{ rows: { from: Date | null; target: Date }[] }>(
    `select age.target, case when mark.at < back.started_at then mark.at else back.started_at end as from
     from (select now() - make_interval(days => :days) as target) age
     left join upkeep_marks mark on mark.key = :key
     left join lateral (
       select started_at from actions where metadata is not null and started_at < age.target and mark.at is not null
       order by started_at desc offset :lookback limit 1
     ) back on true`,
    { key: METADATA_MARK, lookback: METADATA_LOOKBACK_ROWS, days: UNCOUNTED_METADATA_DAYS },
  );
  const target = rows[0]?.target ?? new Date(0);
  let from = rows[0]?.from ?? new Date(0);
  let cleared = 0;
  while (from < target && !signal?.aborted) {
    // A step ends with a whole instant, however many actions began in it.
    const step = await db.raw<{ rows: { until: Date; cleared: string }[] }>(
      `with step as (
         select coalesce(max(started_at), :target) as until, count(*) as found
         from (
           select started_at from actions where metadata is not null and started_at >= :from and started_at < :target
           order by started_at limit :most
         ) r
       ),
       clearing as (
         update actions set metadata = null, completion_metadata = null
         where metadata is not null and started_at >= :from and started_at <= (select until from step) and started_at < :target
           and status in ('started', 'expired', 'cancelled', 'rejected')
         returning 1
       )
       select case when found < :most then :target::timestamptz else until + interval '1 millisecond' end as until,
         (select count(*) from clearing) as cleared
       from step`,
      { from, target, most: ROWS_A_STEP },
    );
    from = step.rows[0]?.until ?? target;
    cleared += Number(step.rows[0]?.cleared ?? 0);
    await db.raw(
      `insert into upkeep_marks as m (key, at) values (:key, :from)
       on conflict (key) do update set at = greatest(m.at, excluded.at)`,
      { key: METADATA_MARK, from },
    );
  }
  return cleared;
}
