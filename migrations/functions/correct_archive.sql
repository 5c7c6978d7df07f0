-- Freezes a period's standings anew if they are frozen: a score of it has changed since. Call it after the change, for one
-- period after the other in the order of their ids.
create or replace function correct_archive(board_period integer) returns void language plpgsql as $$
begin
  perform from board_periods where id = board_period for update;
  perform from board_periods where id = board_period and archived_at is not null;
  if not found then return; end if;
  perform freeze_standings(board_period);
  update board_periods set corrected_at = clock_timestamp() where id = board_period;
end $$;
