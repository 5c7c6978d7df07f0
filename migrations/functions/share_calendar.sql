-- Keeps periods and leaderboards as they are, open or closed, until the transaction ends. Batches do not wait for each other here,
-- only for lock_calendar.
create or replace function share_calendar() returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(7452, 0);
end $$;
