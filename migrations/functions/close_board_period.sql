-- Ends a period: from here on nothing counts in it. Waits for the batches under way. Returns whether it was open.
create or replace function close_board_period(board_period integer) returns boolean language plpgsql as $$
begin
  perform pg_advisory_xact_lock(7452, 0);
  update board_periods set closed_at = clock_timestamp() where id = board_period and closed_at is null;
  return found;
end $$;
