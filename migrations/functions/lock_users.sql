-- Serializes all score changes of the given users until the transaction ends. Workers already apply a user's
-- completions one after another; this holds even while a stalled worker and its successor both believe that they own
-- the partition. In one order everywhere, so that two batches cannot wait for each other.
create or replace function lock_users(user_ids text[]) returns void language plpgsql as $$
declare
  slot integer;
begin
  for slot in select distinct hashtext(u) from unnest(user_ids) u order by 1 loop
    perform pg_advisory_xact_lock(7451, slot);
  end loop;
end $$;
