-- Changes a user's score by an administrator's hand: an entry of its own in the ledger, never a change of another.
--
-- correction: {transactionId, kind: adjustment | rollback, userId, leaderboard, delta (adjustment), reverses (rollback),
--   reason, actor, acceptedAt (ms)}
-- An adjustment counts in the periods that hold its own time, as far as they are open, and on the leaderboard's all-time
-- board even when that is closed; global changes by as much as the leaderboard's all-time score did. Each score stays
-- between 0 and the leaderboard's cap.
-- A rollback makes each score that the entry changed what it would be without the entry, in closed periods too; see
-- standing_without. Achievements that the user has no more reached are taken back.
-- Without points there is no row, and standings that were frozen before are frozen anew.
-- returns {outcome: completed | duplicate | unknown, transactionId, leaderboard, previous, current, delta, completedAt,
--   relocked: whether achievements were taken back, rows: see index_rows}
create or replace function apply_correction(correction jsonb) returns jsonb language plpgsql security definer
  set search_path from current as $$
declare
  player text := correction ->> 'userId';
  at timestamptz := from_epoch_ms((correction ->> 'acceptedAt')::bigint);
  wanted bigint := (correction ->> 'delta')::bigint;
  epoch constant timestamptz := timestamptz '1970-01-01 00:00:00+00';
  target ledger;
  entry ledger;
  named_board text := correction ->> 'leaderboard';
  own_period integer;                             -- all-time boards
  global_period integer;
  own_before bigint;
  global_before bigint;
  changed bigint[] := '{}';                       -- as ledger.effects
  touched integer[];
  slot record;
  standing record;
  before bigint;
  after bigint;
  reached bigint;
  own_delta bigint := 0;
  global_delta bigint := 0;
  latest bigint;                                  -- when the leaderboard's all-time score changed last, ms
  global_highest bigint;
  global_place bigint;
  relocked boolean := false;
begin
  perform lock_users(array[player]);
  perform share_calendar();

  if correction ->> 'kind' = 'rollback' then
    select * into target from ledger where id = correction ->> 'reverses' and user_id = player and kind <> 'rollback';
    if target.id is null then return jsonb_build_object('outcome', 'unknown', 'rows', '[]'::jsonb); end if;
    named_board := target.leaderboard;
  end if;
  select * into entry from ledger
  where id = correction ->> 'transactionId' or (kind = 'rollback' and reverses = correction ->> 'reverses');

  if entry.id is null then
    insert into board_periods (leaderboard, period, starts_at, ends_at)
    select b.key, p.period, period_start(p.period, at), period_end(p.period, period_start(p.period, at))
    from leaderboards b cross join unnest(b.periods) p(period)
    where b.key in (named_board, 'global') and (target.id is null or p.period = 'all')
    on conflict do nothing;
    select id into own_period from board_periods where leaderboard = named_board and period = 'all' and starts_at = epoch;
    select id into global_period from board_periods where leaderboard = 'global' and period = 'all' and starts_at = epoch;
    if own_period is null then return jsonb_build_object('outcome', 'unknown', 'rows', '[]'::jsonb); end if;
    own_before := coalesce((select score from scores where user_id = player and board_period_id = own_period), 0);

    for slot in select * from (
      -- What the entry changed; an entry that does not say, changed the all-time boards.
      select bp.id, bp.period, b.key as board, b.score_cap as cap, e.delta
      from (
        select target.effects[i][1]::integer as id, target.effects[i][2] as delta
        from generate_subscripts(target.effects, 1) i
        union all
        select x.id, x.delta
        from (values (own_period, target.delta), (global_period, target.global_delta)) x(id, delta)
        where target.effects is null and target.id is not null
        group by x.id, x.delta
      ) e
      join board_periods bp on bp.id = e.id
      join leaderboards b on b.key = bp.leaderboard
      union all
      select bp.id, bp.period, b.key, b.score_cap, null
      from leaderboards b cross join unnest(b.periods) p(period)
      join board_periods bp on bp.leaderboard = b.key and bp.period = p.period and bp.starts_at = period_start(p.period, at)
      where target.id is null and b.key in (named_board, 'global')
        and (bp.period = 'all' or bp.closed_at is null or at < bp.closed_at)
      ) s
      -- What the named leaderboard's all-time score changes by is what global is to change by.
      order by board = 'global', period <> 'all', id
    loop
      select s.score, epoch_ms(s.reached_at) as reached into standing
      from scores s where s.user_id = player and s.board_period_id = slot.id;
      before := coalesce(standing.score, 0);
      reached := coalesce(standing.reached, 0);
      if target.id is null then
        after := greatest(least(before + case when slot.board = named_board then wanted else own_delta end,
          greatest(slot.cap, before)), 0);
        if slot.period = 'all' then latest := reached; end if;
        if after <> before then reached := greatest(epoch_ms(at), latest + 1, reached + 1); end if;
      elsif target.effects is null then
        after := greatest(before - slot.delta, 0);
      else
        select w.score, w.reached, w.highest into standing from standing_without(player, target.id, slot.id) w;
        after := least(standing.score, greatest(slot.cap, before));
        if standing.reached > 0 then reached := standing.reached; end if;
        if slot.id = global_period then global_highest := standing.highest; end if;
      end if;
      if after = 0 then reached := 0; end if;
      if slot.id = own_period then own_delta := after - before; end if;
      if slot.id = global_period then global_delta := after - before; end if;
      if after = 0 then
        delete from scores where user_id = player and board_period_id = slot.id;
        continue when before = 0 and not found;
      else
        continue when after = before and reached = (
          select epoch_ms(s.reached_at) from scores s where s.user_id = player and s.board_period_id = slot.id);
        insert into scores (board_period_id, user_id, score, reached_at)
        values (slot.id, player, after, from_epoch_ms(reached))
        on conflict (user_id, board_period_id) do update set score = excluded.score, reached_at = excluded.reached_at;
      end if;
      changed := changed || array[array[slot.id, after - before, reached]];
    end loop;

    insert into ledger (id, kind, user_id, leaderboard, type, points, delta, before, after, global_delta, effects, accepted_at, reverses,
      reason, actor)
    values (correction ->> 'transactionId', correction ->> 'kind', player, named_board, target.type,
      coalesce(wanted, -target.delta), own_delta, own_before, own_before + own_delta, global_delta, changed, at, target.id,
      correction ->> 'reason', correction ->> 'actor')
    returning * into entry;

    perform correct_archive(c.id)
    from (select changed[i][1]::integer as id from generate_subscripts(changed, 1) i order by 1) c;

    if target.effects is not null then
      -- Past ranks cannot be looked up: a user who stands high enough now keeps the achievement.
      select count(*) into global_place
      from scores me, lateral (
        select from scores s
        where s.board_period_id = global_period and s.score >= me.score
          and (s.score > me.score or (s.reached_at, s.user_id collate "C") <= (me.reached_at, me.user_id collate "C"))
          and not exists (select from users h where h.id = s.user_id and (h.banned_at is not null or h.erased_at is not null))
        limit 101
      ) above
      where me.board_period_id = global_period and me.user_id = player;
      delete from achievements a
      where a.user_id = player and (
        a.key like 'score-%' and substr(a.key, 7)::bigint > global_highest
        or a.key like 'rank-%' and a.action_id = target.action_id
          and (global_place = 0 or global_place > substr(a.key, 6)::bigint)
      );
      relocked := found;
    end if;
  end if;

  select coalesce(array_agg(entry.effects[i][1]::integer), '{}') into touched from generate_subscripts(entry.effects, 1) i;
  return jsonb_build_object('outcome', case when entry.id = correction ->> 'transactionId' then 'completed' else 'duplicate' end,
    'transactionId', entry.id, 'leaderboard', entry.leaderboard, 'previous', entry.before, 'current', entry.after,
    'delta', entry.delta, 'completedAt', epoch_ms(entry.applied_at), 'relocked', relocked,
    'rows', coalesce(index_rows(array[player], touched), '[]'));
end $$;
