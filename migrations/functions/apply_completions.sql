-- Applies completions in the order given, all or none, each at most once. What the same users had been promised earlier
-- (202) and Redis has forgotten since must come along in its place, so that nothing that they did later overtakes it: when it is not
-- among the items, nothing is applied, and it is returned as {forgotten: [{actionId, userId, payload, acceptedAt}]}.
--
-- items: array, in order, of jobs, each with
--   actionId, userId, acceptedAt (ms), transactionId, tokenHash (hex; null for client-signed), ip, userAgent, metadata (JSON as text),
--   and for client-signed ones `client`: {type, leaderboard, points, difficulty}
-- returns {completed, others: [{actionId, userId, outcome, ...}], rows, unchanged: score rows that were written and others that Redis
-- may lack, see index_rows, order: places of the items, from 0, as they were applied, if it is not as given}, each null when there is none;
-- outcome is
--   completed      it counts now
--   duplicate      it counted before; the same figures as then
--   closed         it was accepted after its leaderboard had closed, and counts nowhere
--   cancelled | rejected | held | unknown | not_yours | token_mismatch   it does not count
-- A completed one carries the keys of the achievements that it unlocked as `unlocked`.
-- Awards are clipped at the leaderboard's points an update and, period by period, at its score cap. They count in the periods
-- that hold the time of acceptance, if they were accepted before the period was closed.
--
-- The big tables are only ever reached by key, for a few rows. Plans are made once a connection, perhaps while the tables
-- are empty and their statistics tell nothing, and must be right when they have grown: hence the settings, the fences
-- (`offset 0`, or `limit 1` where it is one row), and the actions that are read once, by id, into arrays.
create or replace function apply_completions(items jsonb) returns json language plpgsql security definer
  set search_path from current set enable_seqscan = off set enable_bitmapscan = off set enable_indexonlyscan = off set enable_mergejoin = off set jit = off
  set plan_cache_mode = force_generic_plan as $$
declare
  ids text[];
  taken actions[];                                -- those that count now
  others actions[];                               -- those that do not, or did before
  completed json;
  remaining json;
  written_rows json;
  unchanged_rows jsonb;
  missed bigint;                                  -- score rows that were not found where they had been read
  closed_boards integer[];                        -- periods that were closed when these came
  unchanged_users text[];                         -- whose rows Redis may lack, although nothing was written just now
  touched_boards integer[];
  applied timestamptz(3);
  forgotten jsonb;
  erased text[];                                  -- users of whom nothing personal may be written any more
  shown text[];                                   -- users whom boards show: known, and neither banned nor erased
  applied_order integer[];                        -- places in `items` as given, when they were put into another order
begin
  perform lock_users((select array_agg(i ->> 'userId') from jsonb_array_elements(items) i));

  select jsonb_agg(jsonb_build_object('actionId', q.action_id, 'userId', u.user_id, 'payload', q.payload,
    'acceptedAt', epoch_ms(q.accepted_at))) into forgotten
  from (
    select i ->> 'userId' as user_id, max((i ->> 'acceptedAt')::bigint) as newest from jsonb_array_elements(items) i group by 1
  ) u
  cross join lateral (
    select action_id, payload, accepted_at from queued_completions
    where user_id = u.user_id and accepted_at < from_epoch_ms(u.newest) and dead_at is null offset 0
  ) q
  where (q.action_id, u.user_id) not in (select i ->> 'actionId', i ->> 'userId' from jsonb_array_elements(items) i);
  -- The worker looks at their form and signature before anything is decided, and asks again with those that it takes.
  if forgotten is not null then
    return json_build_object('forgotten', forgotten);
  end if;
  ids := array(select i ->> 'actionId' from jsonb_array_elements(items) i);
  -- One that was put back into the line stands behind what its user has done since.
  if exists (select from queued_completions where action_id = any (ids)) then
    select jsonb_agg(i order by (i ->> 'acceptedAt')::bigint, n), array_agg(n - 1 order by (i ->> 'acceptedAt')::bigint, n)
    into items, applied_order
    from jsonb_array_elements(items) with ordinality e(i, n);
    ids := array(select i ->> 'actionId' from jsonb_array_elements(items) i);
  end if;
  -- Under the lock, so that a user's entries bear times in the order in which they were applied.
  applied := clock_timestamp();
  -- Closing a period waits for the batches under way, and those that come after it see that it is closed.
  perform pg_advisory_xact_lock_shared(7452, 0);
  -- Under the lock of the users, which erase_user takes too.
  select coalesce(array_agg(u.id) filter (where u.erased_at is not null), '{}'),
    coalesce(array_agg(u.id) filter (where u.erased_at is null and u.banned_at is null), '{}')
  into erased, shown
  from (select distinct i ->> 'userId' as id from jsonb_array_elements(items) i) i
  cross join lateral (select id, banned_at, erased_at from users where id = i.id limit 1) u;

  if jsonb_path_exists(items, '$[*].client') then
    insert into actions (id, user_id, type, leaderboard, points, difficulty, source, started_at, expires_at, ip, user_agent)
    select i."actionId", i."userId", i.client ->> 'type', i.client ->> 'leaderboard', (i.client ->> 'points')::integer,
      i.client ->> 'difficulty', 'client', from_epoch_ms(i."acceptedAt"), from_epoch_ms(i."acceptedAt"),
      case when i."userId" <> all (erased) then i.ip end, case when i."userId" <> all (erased) then i."userAgent" end
    from jsonb_to_recordset(items) as i("actionId" text, "userId" text, "acceptedAt" bigint, ip text, "userAgent" text, client jsonb)
    where i.client is not null
    on conflict (id) do nothing;
  end if;

  -- Taking the action makes it count once: a second transaction waits here, and then finds it taken.
  with took as (
    update actions a
    set status = 'completed', accepted_at = from_epoch_ms(i."acceptedAt"), completed_at = applied,
      ip = case when a.user_id <> all (erased) then coalesce(i.ip, a.ip) end,
      user_agent = case when a.user_id <> all (erased) then coalesce(i."userAgent", a.user_agent) end,
      completion_metadata = case when a.user_id <> all (erased) then i.metadata::jsonb end
    from jsonb_to_recordset(items) as i("actionId" text, "userId" text, "acceptedAt" bigint, "tokenHash" text, ip text, "userAgent" text,
      metadata text)
    where a.id = any (ids) and a.id = i."actionId" and a.user_id = i."userId" and a.status in ('started', 'queued', 'expired')
      and (a.source = 'client' or a.token_hash = decode(i."tokenHash", 'hex'))
      and not exists (
        select from leaderboards b where b.key = a.leaderboard and b.closes_at <= from_epoch_ms(i."acceptedAt")
      )
    returning a as action
  )
  select coalesce(array_agg(action), '{}') into taken from took;
  if cardinality(taken) < cardinality(ids) then
    select array_agg(a) into others from actions a where a.id = any (ids) and a.id not in (select t.id from unnest(taken) t);
  end if;

  if cardinality(taken) > 0 then
    insert into board_periods (leaderboard, period, starts_at, ends_at)
    select distinct b.key, p.period, period_start(p.period, d.day), period_end(p.period, period_start(p.period, d.day))
    from (
      select distinct board, date_trunc('day', t.accepted_at at time zone 'UTC') at time zone 'UTC' as day
      from unnest(taken) t cross join unnest(array[t.leaderboard, 'global']) board
    ) d
    join leaderboards b on b.key = d.board
    cross join unnest(b.periods) p(period)
    where not exists (
      select from board_periods x
      where x.leaderboard = b.key and x.period = p.period and x.starts_at = period_start(p.period, d.day)
    )
    on conflict do nothing;

    with item as (
      select n, i ->> 'actionId' as action_id, i ->> 'userId' as user_id, i ->> 'transactionId' as transaction_id
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
      select item.n, item.transaction_id, t.id, t.user_id, t.leaderboard, t.type, t.points, t.accepted_at, t.user_id <> all (shown) as hidden,
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
    -- What a user's actions on a board add up to, and when: strictly later than the user's last change, so that the time also tells
    -- which of two states is the newer.
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
    ),
    -- One row an action and board period. Each period has a score of its own under the leaderboard's cap.
    share as materialized (
      select n, user_id, is_global, is_own, is_all, board_period_id, row_place,
        transaction_id, id, leaderboard, type, points, accepted_at,
        greatest(base, least(cap, base + total_here)) as after,
        greatest(base, least(cap, base + total_here - counts)) as before,
        reached_here as reached
      from (
        select l.*, l.board = 'global' as is_global, slot.board_period_id = l.all_time as is_all,
          slot.board_period_id = l.all_time and l.board = l.leaderboard as is_own,
          slot.board_period_id, s.ctid as row_place, coalesce(s.score, 0) as base,
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
      ) x
    ),
    -- What each action comes to: on its own leaderboard and on global, all time, and period by period.
    outcome as materialized (
      select n, max(transaction_id) filter (where is_own) as transaction_id, max(id) filter (where is_own) as id,
        max(user_id) filter (where is_own) as user_id, max(leaderboard) filter (where is_own) as leaderboard,
        max(type) filter (where is_own) as type, max(points) filter (where is_own) as points,
        max(accepted_at) filter (where is_own) as accepted_at,
        max(before) filter (where is_own) as before, max(after) filter (where is_own) as after,
        max(after - before) filter (where is_all and is_global) as global_delta,
        coalesce(array_agg(array[board_period_id, after - before, reached]::bigint[]) filter (where after > before), '{}') as effects
      from share
      group by n
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
    -- By the place of the row, which the user's lock keeps where it was read: that spares a search for each.
    risen as (
      update scores s set score = gain.score, reached_at = gain.reached_at
      from gain where s.ctid = gain.row_place
      returning s.board_period_id, s.user_id, s.score, s.reached_at
    ),
    begun as (
      insert into scores (board_period_id, user_id, score, reached_at)
      select board_period_id, user_id, score, reached_at from gain where row_place is null
      returning board_period_id, user_id, score, reached_at
    ),
    milestone as (
      insert into achievements (user_id, key, action_id, unlocked_at)
      select r.user_id, 'score-' || m.score, r.id, r.accepted_at
      from share r
      join unnest(array[100, 500, 1000, 5000, 10000]) m(score) on r.before < m.score and r.after >= m.score
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
          select board_period_id, json_agg(json_build_array(user_id, score, epoch_ms(reached_at),
            user_id in (select user_id from line where hidden))) as rows
          from (select * from risen union all select * from begun) written
          group by board_period_id
        ) r
        join board_periods b on b.id = r.board_period_id
      ),
      (select array_agg(distinct user_id) from share where after = before),
      (select count(*) from gain) - (select count(*) from risen) - (select count(*) from begun),
      (select array_agg(distinct board_period_id order by board_period_id) from slot where closed_at is not null)
    into completed, written_rows, unchanged_users, missed, closed_boards;
    if missed <> 0 then
      raise exception 'a score was changed by somebody who does not hold the lock of its user' using errcode = 'serialization_failure';
    end if;
    -- Accepted before the end, applied after it: what is frozen already is frozen anew.
    if closed_boards is not null then
      perform correct_archive(b.id) from unnest(closed_boards) b(id) order by b.id;
    end if;
  end if;

  delete from queued_completions q
  where action_id = any (ids) and exists (
    select from jsonb_array_elements(items) i where i ->> 'actionId' = q.action_id and i ->> 'userId' = q.user_id
  );
  -- One that was promised (202) by a process that did not know of the end yet waits for nothing any more: it expires.
  if cardinality(taken) < cardinality(ids) then
    update actions a set status = 'started', accepted_at = null
    from unnest(others) o, leaderboards b
    where a.id = o.id and a.status = 'queued' and b.key = a.leaderboard and b.closes_at <= a.accepted_at;
  end if;

  -- The rest: what counted before, and what does not count.
  if cardinality(taken) < cardinality(ids) then
    select json_agg(jsonb_build_object('actionId', i ->> 'actionId', 'userId', i ->> 'userId', 'outcome', outcome)
      || coalesce(before, '{}')) into remaining
    from jsonb_array_elements(items) i
    left join unnest(taken || others) a on a.id = i ->> 'actionId'
    cross join lateral (
      select case
        when a.id is null then 'unknown'
        when a.user_id <> i ->> 'userId' then 'not_yours'
        when a.status = 'completed' then 'duplicate'
        when a.status in ('cancelled', 'rejected', 'held') then a.status
        when a.source = 'client' or a.token_hash = decode(i ->> 'tokenHash', 'hex') then 'closed'
        else 'token_mismatch'
      end as outcome
    ) o
    left join lateral (
      select jsonb_build_object('leaderboard', a.leaderboard, 'type', a.type, 'transactionId', l.id,
          'previous', l.before, 'current', l.after, 'delta', l.delta,
          'acceptedAt', epoch_ms(a.accepted_at), 'completedAt', epoch_ms(a.completed_at))
        || case when r.found then jsonb_build_object('rank', jsonb_build_array(r.previous, r.current)) else '{}' end as before
      from (select * from ledger where action_id = a.id limit 1) l
      left join lateral (select true as found, previous, current from completion_ranks where action_id = a.id limit 1) r on true
      where outcome = 'duplicate'
    ) b on true
    where not exists (select from unnest(taken) t where t.id = i ->> 'actionId' and t.user_id = i ->> 'userId');
    unchanged_users := unchanged_users || array(select user_id from unnest(others) where status = 'completed');
  end if;

  if cardinality(unchanged_users) > 0 then
    touched_boards := array(
      select bp.id
      from (
        select distinct board, date_trunc('day', a.accepted_at at time zone 'UTC') at time zone 'UTC' as day
        from unnest(taken || others) a cross join unnest(array[a.leaderboard, 'global']) board
        where a.status = 'completed'
      ) d
      join leaderboards b on b.key = d.board
      cross join unnest(b.periods) p(period)
      join board_periods bp on bp.leaderboard = b.key and bp.period = p.period and bp.starts_at = period_start(p.period, d.day)
      group by bp.id);
    unchanged_rows := index_rows(array(select distinct unnest(unchanged_users)), touched_boards);
  end if;

  return json_build_object('completed', completed, 'others', remaining, 'rows', written_rows, 'unchanged', unchanged_rows,
    'order', applied_order);
end $$;
