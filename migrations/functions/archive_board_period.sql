-- Freezes the standings of a closed period, once: the best `most` (0 = all), ranks and all. Hidden users are left out.
-- Returns whether this call did it.
create or replace function archive_board_period(board_period integer, most integer) returns boolean language plpgsql as $$
begin
  perform from board_periods where id = board_period and closed_at is not null and archived_at is null for update;
  if not found then return false; end if;
  insert into standings (board_period_id, rank, user_id, score, reached_at)
  select board_period, row_number() over total_order, s.user_id, s.score, s.reached_at
  from scores s join users u on u.id = s.user_id
  where s.board_period_id = board_period and u.banned_at is null and u.erased_at is null
  window total_order as (order by s.score desc, s.reached_at, s.user_id collate "C")
  order by s.score desc, s.reached_at, s.user_id collate "C"
  limit nullif(most, 0);
  update board_periods set archived_at = clock_timestamp(), total = (
      select count(*) from scores s join users u on u.id = s.user_id
      where s.board_period_id = board_period and u.banned_at is null and u.erased_at is null)
  where id = board_period;
  return true;
end $$;
