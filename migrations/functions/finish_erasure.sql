-- Clears what is left of an erased user, and what requests that began before the erasure have written since. Returns whether
-- there is more to do at once. The erasure is finished when no such request can be under way any more, and nothing of the user
-- waits to be applied.
create or replace function finish_erasure(target text, most integer) returns boolean language plpgsql security definer
  set search_path from current as $$
begin
  if scrub_user(target, most) >= most then return true; end if;
  delete from erasures e
  where user_id = target and at < clock_timestamp() - interval '5 minutes'
    and not exists (select from queued_completions q where q.user_id = e.user_id and q.dead_at is null)
    and not exists (select from queued_corrections q where q.user_id = e.user_id and q.dead_at is null);
  return false;
end $$;
