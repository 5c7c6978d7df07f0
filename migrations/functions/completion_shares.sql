-- What each completion is worth: one row an action and board period in which it counts, or would if the cap had room.
-- An award is clipped at the leaderboard's points an update and, period by period, at its score cap.
--
-- taken: the actions, see take_actions; n: the action's place in `items`, from 1;
-- before, after: the score of that period; reached: when it was reached (ms), strictly later than the user's last change, so
-- that it also tells which of two states is the newer; row_place: where the score's row is, null for none
create or replace function completion_shares(items jsonb, taken actions[])
returns table (n bigint, user_id text, board_period_id integer, is_closed boolean, is_own boolean, is_global boolean, is_all boolean,
  row_place tid, before bigint, after bigint, reached bigint)
language plpgsql as $$
#variable_conflict use_column
begin
  return query
  with item as (
    select n, i ->> 'actionId' as action_id, i ->> 'userId' as user_id
    from jsonb_array_elements(items) with ordinality e(i, n)
  ),
  -- Looked up once, and not once a row: an installation collects periods for years.
  board as materialized (
    select b.key, b.score_cap, b.max_points_per_update, b.periods, bp.id as all_time
    from (select distinct key from unnest(taken) t cross join unnest(array[t.leaderboard, 'global']) key) k
    join leaderboards b on b.key = k.key
    join board_periods bp on bp.leaderboard = b.key and bp.period = 'all' and bp.starts_at = timestamptz '1970-01-01 00:00:00+00'
  ),
  -- One row an action and board: its own, and global.
  award as (
    select item.n, t.user_id, t.leaderboard, t.accepted_at,
      date_trunc('day', t.accepted_at at time zone 'UTC') at time zone 'UTC' as day, b.key as board, b.score_cap as cap,
      least(t.points, b.max_points_per_update)::integer as worth, epoch_ms(t.accepted_at) as accepted_ms,
      b.all_time, coalesce(epoch_ms(s.reached_at), 0) as base_reached
    from unnest(taken) t
    join item on item.action_id = t.id and item.user_id = t.user_id -- two users may have signed one id
    join board b on b.key in (t.leaderboard, 'global')
    left join lateral (
      -- By the primary key alone, as in index_rows.
      select reached_at from scores
      where (user_id, board_period_id) >= (t.user_id, b.all_time) and (user_id, board_period_id) <= (t.user_id, b.all_time) limit 1
    ) s on true
  ),
  -- What a user's actions on a board add up to, and when.
  line as materialized (
    select *, sum(worth) over line as total,
      greatest(base_reached + place, max(accepted_ms - place) over line + place) as reached
    from (select *, row_number() over (partition by user_id, board order by n) as place from award) numbered
    window line as (partition by user_id, board order by n)
  ),
  -- The periods in which completions of a day count, and whether all of a user's that are here do so.
  slot as materialized (
    select d.board, d.day, bp.id as board_period_id, bp.starts_at, coalesce(least(bp.ends_at, bp.closed_at), 'infinity') as ends_at, bp.closed_at,
      bp.closed_at is null and (p.period = 'all' or (select count(distinct day) = 1 from line)) as has_all
    from (select distinct board, day from line) d
    join board b on b.key = d.board
    cross join unnest(b.periods) p(period)
    join board_periods bp on bp.leaderboard = d.board and bp.period = p.period and bp.starts_at = period_start(p.period, d.day)
  )
  -- Each period has a score of its own under the leaderboard's cap.
  select x.n, x.user_id, x.board_period_id, x.closed_at is not null, x.board_period_id = x.all_time and x.board = x.leaderboard, x.board = 'global',
    x.board_period_id = x.all_time, x.row_place,
    greatest(base, least(cap, base + total_here - counts)), greatest(base, least(cap, base + total_here)), x.reached_here
  from (
    select l.*, slot.board_period_id, slot.closed_at, s.ctid as row_place, coalesce(s.score, 0) as base,
      case when has_all or l.accepted_at < slot.ends_at then worth else 0 end as counts,
      case when has_all then l.total else (
        select coalesce(sum(o.worth), 0) from line o
        where o.user_id = l.user_id and o.board = l.board and o.n <= l.n and o.accepted_at >= slot.starts_at and o.accepted_at < slot.ends_at
      ) end as total_here,
      greatest(l.reached, coalesce(epoch_ms(s.reached_at), 0) + l.place) as reached_here
    from line l
    join slot on slot.board = l.board and slot.day = l.day
    left join lateral (
      select score, reached_at, ctid from scores
      where (user_id, board_period_id) >= (l.user_id, slot.board_period_id)
        and (user_id, board_period_id) <= (l.user_id, slot.board_period_id) limit 1
    ) s on true
  ) x;
end $$;
