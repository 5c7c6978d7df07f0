-- Makes the periods in which these actions count, if they are the first.
create or replace function open_periods(taken actions[]) returns void language plpgsql as $$
begin
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
end $$;
