-- Which of two profiles of a user is newer: a sequence of the database, because the clocks of hosts disagree.
create sequence users_revision;
alter table users add column revision bigint not null default nextval('users_revision');
alter sequence users_revision owned by users.revision;

-- Access tokens of ours carry the epoch in which they were issued, and end when it rises.
alter table users add column token_epoch integer not null default 0;

-- The outbox: users of whom Redis has yet to be told. Written by the transaction that changes the user, whoever that is, and
-- deleted by a worker once Redis has taken it.
create table user_changes (
  user_id text primary key,                       -- no foreign key: the user may be gone
  revision bigint not null,                       -- of the newest change
  resync boolean not null default false,          -- the user was hidden, or is no longer: boards change too
  changed_at timestamptz not null default now()
);

create function stamp_user_change() returns trigger language plpgsql as $$
begin
  if new.token_epoch = old.token_epoch
     and (new.role <> old.role
          or old.password_hash is not null and new.password_hash is distinct from old.password_hash) then
    new.token_epoch := old.token_epoch + 1;
  end if;
  -- The row is locked by now, so that the revisions of a user rise in the order of their transactions.
  if (new.username, new.avatar_url, new.role, new.banned_at, new.erased_at, new.allow_spectators, new.token_epoch)
     is distinct from
     (old.username, old.avatar_url, old.role, old.banned_at, old.erased_at, old.allow_spectators, old.token_epoch) then
    new.revision := nextval('users_revision');
  else
    new.revision := old.revision;
  end if;
  return new;
end $$;
create trigger users_are_stamped before update on users
  for each row execute function stamp_user_change();

create function note_user_change() returns trigger language plpgsql as $$
declare
  id text := old.id;
  revision bigint;
  resync boolean := true;
begin
  if tg_op = 'DELETE' then
    revision := nextval('users_revision');
  else
    revision := new.revision;
    resync := (new.banned_at is null, new.erased_at is null) <> (old.banned_at is null, old.erased_at is null);
  end if;
  insert into user_changes as c (user_id, revision, resync) values (id, revision, resync)
  on conflict (user_id) do update
    set revision = excluded.revision, resync = c.resync or excluded.resync, changed_at = now();
  return null;
end $$;
create trigger user_changes_are_noted after update on users
  for each row when (new.revision <> old.revision) execute function note_user_change();
create trigger user_deletions_are_noted after delete on users
  for each row execute function note_user_change();
