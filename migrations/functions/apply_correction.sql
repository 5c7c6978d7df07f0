-- Changes a user's score by an administrator's hand: an entry of its own in the ledger, never a change of another.
--
-- correction: {transactionId, kind: adjustment | rollback, userId, leaderboard, delta (adjustment), reverses (rollback),
--   reason, actor, acceptedAt (ms)}
-- An adjustment counts in the periods that hold its own time; a rollback takes back what the entry counted for, in the
-- entry's periods as far as they are open. Scores stay between 0 and the leaderboard's cap.
-- returns {outcome: completed | duplicate | unknown, transactionId, leaderboard, previous, current, delta, completedAt,
--   rows: see index_rows}
create or replace function apply_correction(correction jsonb) returns jsonb language plpgsql as $$
declare
  player text := correction ->> 'userId';
  named_board text := correction ->> 'leaderboard';
  at timestamptz := from_epoch_ms((correction ->> 'acceptedAt')::bigint);
  counted_at timestamptz := at;
  target ledger;
  entry ledger;
  deltas bigint[];
  touched integer[];
  known text;
begin
  perform lock_users(array[player]);
  perform pg_advisory_xact_lock_shared(7452, 0);

  select id into known from ledger
  where id = correction ->> 'transactionId' or (kind = 'rollback' and reverses = correction ->> 'reverses');

  if correction ->> 'kind' = 'rollback' then
    select * into target from ledger where id = correction ->> 'reverses' and user_id = player and kind <> 'rollback';
    if target.id is null then return jsonb_build_object('outcome', 'unknown', 'rows', '[]'::jsonb); end if;
    named_board := target.leaderboard;
    counted_at := target.accepted_at;
    deltas := array[-target.delta, -target.global_delta];
  else
    -- Global follows what the named leaderboard really changed by.
    select array_fill(greatest(least(coalesce(s.score, 0) + (correction ->> 'delta')::bigint,
        greatest(b.score_cap, coalesce(s.score, 0))), 0) - coalesce(s.score, 0), array[2])
    into deltas
    from leaderboards b
    left join board_periods bp on bp.leaderboard = b.key and bp.period = 'all' and bp.starts_at = timestamptz '1970-01-01 00:00:00+00'
    left join scores s on s.board_period_id = bp.id and s.user_id = player
    where b.key = named_board;
  end if;

  if known is null then
    insert into board_periods (leaderboard, period, starts_at, ends_at)
    select b.key, p.period, period_start(p.period, counted_at), period_end(p.period, period_start(p.period, counted_at))
    from leaderboards b cross join unnest(b.periods) p(period)
    where b.key in (named_board, 'global')
    on conflict do nothing;

    with wanted as (
      select b.key as board, case when b.key = named_board then deltas[1] else deltas[2] end as delta, b.score_cap, b.periods,
        coalesce(s.score, 0) as before, s.reached_at
      from leaderboards b
      join board_periods bp on bp.leaderboard = b.key and bp.period = 'all' and bp.starts_at = timestamptz '1970-01-01 00:00:00+00'
      left join scores s on s.board_period_id = bp.id and s.user_id = player
      where b.key in (named_board, 'global')
    ),
    effect as (
      select *, greatest(least(before + delta, greatest(score_cap, before)), 0) as after,
        greatest(at, reached_at + interval '1 millisecond') as reached
      from wanted
    ),
    changed as (
      insert into scores (board_period_id, user_id, score, reached_at)
      select bp.id, player, greatest(e.after - e.before, 0), e.reached
      from effect e
      cross join unnest(e.periods) p(period)
      join board_periods bp on bp.leaderboard = e.board and bp.period = p.period
        and bp.starts_at = period_start(p.period, counted_at) and bp.closed_at is null
      where e.after <> e.before
      on conflict (user_id, board_period_id) do update
        set score = greatest(scores.score + (
            select e.after - e.before from effect e join board_periods bp on bp.leaderboard = e.board
            where bp.id = excluded.board_period_id), 0),
          reached_at = greatest(excluded.reached_at, scores.reached_at + interval '1 millisecond')
    )
    insert into ledger (id, kind, user_id, leaderboard, type, points, delta, before, after, global_delta, accepted_at, reverses,
      reason, actor)
    select correction ->> 'transactionId', correction ->> 'kind', player, own.board, target.type, own.delta,
      own.after - own.before, own.before, own.after, g.after - g.before, at, target.id, correction ->> 'reason',
      correction ->> 'actor'
    from effect own join effect g on g.board = 'global'
    where own.board = named_board;
    known := correction ->> 'transactionId';
  end if;

  select * into entry from ledger where id = known;
  select array_agg(bp.id) into touched
  from leaderboards b cross join unnest(b.periods) p(period)
  join board_periods bp on bp.leaderboard = b.key and bp.period = p.period
    and bp.starts_at = period_start(p.period, counted_at) and bp.closed_at is null
  where b.key in (named_board, 'global');
  return jsonb_build_object('outcome', case when known = correction ->> 'transactionId' then 'completed' else 'duplicate' end,
    'transactionId', entry.id, 'leaderboard', entry.leaderboard, 'previous', entry.before, 'current', entry.after,
    'delta', entry.delta, 'completedAt', epoch_ms(entry.applied_at),
    'rows', coalesce(index_rows(array[player], touched), '[]'));
end $$;
