-- A user's score on a board period as it would stand without one ledger entry: the user's live entries (those that are not
-- taken back, corrections that take back left out) added up in the order in which they were applied, never below 0.
-- What the score holds of entries that do not say what they did (they are older than `effects`) comes first.
-- score: the sum; reached: when the last of them was reached, ms, 0 without any; highest: the highest sum on the way.
create or replace function standing_without(player text, entry_id text, board_period integer,
  out score bigint, out reached bigint, out highest bigint) language sql stable as $$
  with effect as (
    select l.seq, l.kind, e.delta, e.reached,
      l.kind <> 'rollback' and l.id <> entry_id
        and not exists (select from ledger undo where undo.reverses = l.id and undo.kind = 'rollback') as live
    from ledger l
    cross join lateral (
      select l.effects[i][2] as delta, l.effects[i][3] as reached
      from generate_subscripts(l.effects, 1) i where l.effects[i][1] = board_period
    ) e
    where l.user_id = player
  ),
  origin as (
    select coalesce((select s.score from scores s where s.user_id = player and s.board_period_id = board_period), 0)
      - coalesce((select sum(delta) from effect), 0) as score
  ),
  summed as (
    select seq, effect.reached, origin.score + sum(delta) over (order by seq) as total
    from effect cross join origin where live
  ),
  -- A sum that may not fall below 0 is the plain one less its lowest point so far, if that is below 0.
  raised as (
    select seq, s.reached, total - least(0, min(total) over (order by seq)) as total from summed s
  )
  select coalesce((select total from raised order by seq desc limit 1), (select o.score from origin o))::bigint,
    coalesce((select r.reached from raised r order by seq desc limit 1), 0)::bigint,
    greatest((select max(total) from raised), (select o.score from origin o))::bigint
$$;
