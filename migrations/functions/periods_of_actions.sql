-- The board periods that hold the acceptance of these actions, on their own leaderboard and on global, if they are completed.
create or replace function periods_of_actions(counted actions[]) returns integer[] language plpgsql stable as $$
begin
  return array(
    select bp.id
    from (
      select distinct board, date_trunc('day', a.accepted_at at time zone 'UTC') at time zone 'UTC' as day
      from unnest(counted) a cross join unnest(array[a.leaderboard, 'global']) board
      where a.status = 'completed'
    ) d
    join leaderboards b on b.key = d.board
    cross join unnest(b.periods) p(period)
    join board_periods bp on bp.leaderboard = b.key and bp.period = p.period and bp.starts_at = period_start(p.period, d.day)
    group by bp.id);
end $$;
