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
-- Its parts, in order: forgotten_completions, take_actions, open_periods, completion_shares and count_completions,
-- refused_completions. They run under the settings of this function.
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
  closed_periods integer[];                       -- periods that were closed when these came
  unchanged_users text[];                         -- whose rows Redis may lack, although nothing was written just now
  unchanged_rows jsonb;
  applied timestamptz(3);
  forgotten jsonb;
  erased text[];                                  -- users of whom nothing personal may be written any more
  shown text[];                                   -- users whom boards show: known, and neither banned nor erased
  applied_order integer[];                        -- places in `items` as given, when they were put into another order
begin
  perform lock_users((select array_agg(i ->> 'userId') from jsonb_array_elements(items) i));
  -- The worker looks at their form and signature before anything is decided, and asks again with those that it takes.
  forgotten := forgotten_completions(items);
  if forgotten is not null then
    return json_build_object('forgotten', forgotten);
  end if;
  ids := array(select i ->> 'actionId' from jsonb_array_elements(items) i);
  -- One that was put back into the line stands behind what its user has done since.
  if exists (select from queued_completions where action_id = any (ids)) then
    select jsonb_agg(i order by (i ->> 'acceptedAt')::bigint, n), array_agg(n - 1 order by (i ->> 'acceptedAt')::bigint, n)
    into items, applied_order
    from jsonb_array_elements(items) with ordinality e(i, n);
  end if;
  -- Under the lock, so that a user's entries bear times in the order in which they were applied.
  applied := clock_timestamp();
  perform share_calendar();
  -- Under the lock of the users, which erase_user takes too.
  select coalesce(array_agg(u.id) filter (where u.erased_at is not null), '{}'),
    coalesce(array_agg(u.id) filter (where u.erased_at is null and u.banned_at is null), '{}')
  into erased, shown
  from (select distinct i ->> 'userId' as id from jsonb_array_elements(items) i) i
  cross join lateral (select id, banned_at, erased_at from users where id = i.id limit 1) u;

  taken := take_actions(items, erased, applied);
  if cardinality(taken) > 0 then
    perform open_periods(taken);
    select * into completed, written_rows, unchanged_users, closed_periods
    from count_completions(items, taken, shown, applied);
    -- Accepted before the end, applied after it: what is frozen already is frozen anew.
    if closed_periods is not null then
      perform correct_archive(b.id) from unnest(closed_periods) b(id) order by b.id;
    end if;
  end if;
  delete from queued_completions q
  where action_id = any (ids) and exists (
    select from jsonb_array_elements(items) i where i ->> 'actionId' = q.action_id and i ->> 'userId' = q.user_id
  );

  if cardinality(taken) < cardinality(ids) then
    select array_agg(a) into others from actions a where a.id = any (ids) and a.id not in (select t.id from unnest(taken) t);
    remaining := refused_completions(items, taken, others);
    -- One that was promised (202) by a process that did not know of the end yet waits for nothing any more: it expires.
    update actions a set status = 'started', accepted_at = null
    from unnest(others) o, leaderboards b
    where a.id = o.id and a.status = 'queued' and b.key = a.leaderboard and b.closes_at <= a.accepted_at;
    unchanged_users := unchanged_users || array(select user_id from unnest(others) where status = 'completed');
  end if;
  if cardinality(unchanged_users) > 0 then
    unchanged_rows := index_rows(array(select distinct unnest(unchanged_users)), periods_of_actions(taken || others));
  end if;

  return json_build_object('completed', completed, 'others', remaining, 'rows', written_rows, 'unchanged', unchanged_rows,
    'order', applied_order);
end $$;
