-- Keeps a user erased: a change that was under way (a rename, a new picture, a ban with its reason) puts nothing back.
create or replace function keep_erased() returns trigger language plpgsql as $$
begin
  new.username := old.username;
  new.username_key := old.username_key;
  new.email := null;
  new.email_key := null;
  new.password_hash := null;
  new.avatar_url := null;
  new.allow_spectators := false;
  new.ban_reason := null;
  new.erased_at := old.erased_at;
  return new;
end $$;
