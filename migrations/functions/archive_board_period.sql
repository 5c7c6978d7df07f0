-- Freezes the standings of a closed period, once: the best `most` (0 = all). Returns whether this call did it.
create or replace function archive_board_period(board_period integer, most integer) returns boolean language plpgsql security definer
  set search_path from current as $$
begin
  -- Who applies a completion to a closed period holds this row until the commit: its score is seen here, or it sees the archive.
  perform from board_periods where id = board_period and closed_at is not null and archived_at is null for update;
  if not found then return false; end if;
  update board_periods set archived_at = clock_timestamp(), places = most where id = board_period;
  perform freeze_standings(board_period);
  return true;
end $$;
