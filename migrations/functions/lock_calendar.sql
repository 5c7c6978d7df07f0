-- Waits for the batches under way and keeps others from beginning until the transaction ends: what is closed or opened
-- meanwhile is closed or open for all of a batch. The counterpart of share_calendar.
create or replace function lock_calendar() returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock(7452, 0);
end $$;
