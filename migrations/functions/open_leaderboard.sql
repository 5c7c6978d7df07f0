-- Opens the all-time board of a leaderboard again that had been closed: it goes on from the scores that it has, and is no
-- longer frozen. The caller has taken the leaderboard's end away, or put it off.
create or replace function open_leaderboard(board text) returns void language plpgsql security definer
  set search_path from current as $$
declare
  all_time integer;
begin
  perform lock_calendar();
  update board_periods set closed_at = null, archived_at = null, total = null, places = null, corrected_at = null
  where leaderboard = board and period = 'all' and closed_at is not null
  returning id into all_time;
  delete from standings where board_period_id = all_time;
end $$;
