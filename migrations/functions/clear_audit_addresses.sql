-- Takes addresses and user agents out of lines of the audit log that are older than `days`, of at most `most` lines, oldest first.
-- Returns how many. The one change that retention makes in a log to which the tiers may only add.
create or replace function clear_audit_addresses(days integer, most integer) returns integer language plpgsql security definer
  set search_path from current as $$
declare
  cleared integer;
begin
  update audit_log set details = details - 'ip' - 'userAgent'
  where id in (
    select id from audit_log
    where jsonb_exists_any(details, array['ip', 'userAgent']) and at < now() - make_interval(days => days)
    order by at limit most
  );
  get diagnostics cleared = row_count;
  return cleared;
end $$;
