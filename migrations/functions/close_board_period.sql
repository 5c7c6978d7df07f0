-- Ends a period at an instant: what is accepted from then on does not count in it. Waits for the batches under way, so that
-- an instant that is read from the clock under the same lock is later than all that has been applied.
-- cut: ms since the epoch. Returns whether the period was open.
drop function if exists close_board_period(integer);
create or replace function close_board_period(board_period integer, cut bigint) returns boolean language plpgsql security definer
  set search_path from current as $$
begin
  perform lock_calendar();
  update board_periods set closed_at = from_epoch_ms(cut) where id = board_period and closed_at is null;
  return found;
end $$;
