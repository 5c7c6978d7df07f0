-- Writes what the taken actions are worth: score rows, achievements, ledger. The caller holds the locks of their users.
--
-- items, taken: see completion_shares; shown: users whom boards show; applied: the instant of the batch
-- completed: [{actionId, userId, outcome: 'completed', ...}]; written_rows: score rows as index_rows gives them;
-- unchanged_users: whose award was clipped to nothing; closed_periods: periods among them that are closed already
create or replace function count_completions(items jsonb, taken actions[], shown text[], applied timestamptz,
  out completed json, out written_rows json, out unchanged_users text[], out closed_periods integer[])
language plpgsql as $$
declare
  missed bigint;                                  -- score rows that were not found where they had been read
begin
  with share as materialized (select * from completion_shares(items, taken)),
  -- What each action comes to: on its own leaderboard and on global, all time, and period by period.
  outcome as materialized (
    select n, i ->> 'transactionId' as transaction_id, t.id, t.user_id, t.leaderboard, t.type, t.points, t.accepted_at,
      worth.before, worth.after, worth.global_delta, worth.effects
    from jsonb_array_elements(items) with ordinality e(i, n)
    join unnest(taken) t on t.id = i ->> 'actionId' and t.user_id = i ->> 'userId'
    join (
      select n, max(before) filter (where is_own) as before, max(after) filter (where is_own) as after,
        max(after - before) filter (where is_all and is_global) as global_delta,
        coalesce(array_agg(array[board_period_id, after - before, reached]::bigint[]) filter (where after > before), '{}') as effects
      from share
      group by n
    ) worth using (n)
    order by n
  ),
  gain as materialized (
    select board_period_id, user_id, max(after) as score, max(row_place) as row_place,
      from_epoch_ms(max(reached) filter (where after > before)) as reached_at
    from share
    group by user_id, board_period_id
    having bool_or(after > before)
    order by user_id, board_period_id
  ),
  -- By the place of the row, which the user's lock keeps where it was read: that spares a search for each. All places at once, as
  -- a scan of each would ask the system for the size of the table.
  risen as (
    update scores s set score = gain.score, reached_at = gain.reached_at
    from gain where s.ctid = gain.row_place and s.ctid = any (array(select row_place from gain))
    returning s.board_period_id, s.user_id, s.score, s.reached_at
  ),
  begun as (
    insert into scores (board_period_id, user_id, score, reached_at)
    select board_period_id, user_id, score, reached_at from gain where row_place is null
    returning board_period_id, user_id, score, reached_at
  ),
  milestone as (
    insert into achievements (user_id, key, action_id, unlocked_at)
    select o.user_id, 'score-' || m.score, o.id, o.accepted_at
    from share r
    join unnest(array[100, 500, 1000, 5000, 10000]) m(score) on r.before < m.score and r.after >= m.score
    join outcome o on o.n = r.n
    where r.is_global and r.is_all
    on conflict do nothing
    returning action_id, key
  ),
  entry as (
    insert into ledger (id, kind, action_id, user_id, leaderboard, type, points, delta, before, after, global_delta, effects, accepted_at, applied_at)
    select transaction_id, 'completion', id, user_id, leaderboard, type, points, after - before, before, after, global_delta, effects, accepted_at, applied
    from outcome order by n
  )
  select
    (
      select json_agg(json_build_object('actionId', o.id, 'userId', o.user_id, 'outcome', 'completed', 'leaderboard', o.leaderboard, 'type', o.type,
          'transactionId', o.transaction_id, 'previous', o.before, 'current', o.after, 'delta', o.after - o.before,
          'acceptedAt', epoch_ms(o.accepted_at), 'completedAt', epoch_ms(applied), 'unlocked', coalesce(m.unlocked, '{}')))
      from outcome o
      left join (select action_id, array_agg(key order by key) as unlocked from milestone group by 1) m on m.action_id = o.id
    ),
    (
      select json_agg(json_build_array(b.leaderboard, b.period, epoch_ms(b.starts_at), epoch_ms(b.ends_at), r.rows))
      from (
        select board_period_id, json_agg(json_build_array(user_id, score, epoch_ms(reached_at), user_id <> all (shown))) as rows
        from (select * from risen union all select * from begun) written
        group by board_period_id
      ) r
      join board_periods b on b.id = r.board_period_id
    ),
    (select array_agg(distinct user_id) from share where after = before),
    (select count(*) from gain) - (select count(*) from risen) - (select count(*) from begun),
    (select array_agg(distinct board_period_id order by board_period_id) from share where is_closed)
  into completed, written_rows, unchanged_users, missed, closed_periods;
  if missed <> 0 then
    raise exception 'a score was changed by somebody who does not hold the lock of its user' using errcode = 'serialization_failure';
  end if;
end $$;
