-- Adds entries of the ledger to daily_gains, each once, at most `most` of them. Returns how many numbers it went on by; 0 when it has
-- to be called again later.
--
-- Entries are numbered before they are committed, and may be committed in another order. So numbers are summed in three calls,
-- some time apart: one takes the newest number; the next, when every transaction that took such a number has long begun to
-- write, takes the newest transaction; and once all transactions up to that one have ended, the entries are all there. Clocks
-- have no part in it, nor has the day in which an entry was accepted: late ones are added to their day.
create or replace function sum_daily_gains(most bigint) returns bigint language plpgsql security definer
  set search_path from current as $$
declare
  mark daily_gains_mark;
  upto bigint;
begin
  select * into mark from daily_gains_mark for update;
  if mark.summed >= mark.fenced then
    update daily_gains_mark set fenced = proposed, fence = pg_snapshot_xmax(pg_current_snapshot()),
      proposed = (select case when is_called then last_value else 0 end from ledger_seq_seq);
    return 0;
  end if;
  if pg_snapshot_xmin(pg_current_snapshot()) < mark.fence then return 0; end if;
  upto := least(mark.fenced, mark.summed + most);
  insert into daily_gains as g (user_id, leaderboard, day, gain)
  select user_id, board, (accepted_at at time zone 'UTC')::date, sum(gain)
  from (
    select user_id, 'global' as board, accepted_at, global_delta as gain from ledger where seq > mark.summed and seq <= upto
    union all
    select user_id, leaderboard, accepted_at, delta from ledger where seq > mark.summed and seq <= upto and leaderboard <> 'global'
  ) entries
  where gain <> 0
  group by 1, 2, 3
  order by 1, 2, 3
  on conflict (user_id, leaderboard, day) do update set gain = g.gain + excluded.gain;
  update daily_gains_mark set summed = upto;
  return upto - mark.summed;
end $$;
