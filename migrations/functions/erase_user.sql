-- Erases what tells who a user is. The id stays, and with it the ledger's sums and the archived standings, under a name that says
-- nothing. Returns whether this call did it; false for a user that is not there, or was erased before.
--
-- Completions of the user that are being applied end first; all later ones see that the user is erased (apply_completions,
-- record_acceptance). The lock is held for a moment only, since other users' completions may stand behind it: of a long history the
-- newest actions are cleared here, and the rest by finish_erasure.
create or replace function erase_user(target text) returns boolean language plpgsql security definer
  set search_path from current as $$
declare
  name text := 'erased-' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 12);
begin
  perform lock_users(array[target]);
  update users set username = name, username_key = name, email = null, email_key = null, password_hash = null, avatar_url = null,
    allow_spectators = false, ban_reason = null, erased_at = clock_timestamp(), updated_at = clock_timestamp()
  where id = target and erased_at is null;
  if not found then return false; end if;
  insert into erasures (user_id) values (target) on conflict do nothing;
  perform scrub_user(target, 2000);
  return true;
end $$;
