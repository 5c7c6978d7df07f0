-- `sub` of an outside identity service, where the user's id is not made to be read by others: it may name a person. Erasure
-- empties it.
alter table users add column subject text unique;

-- What erased subjects are hashed with: a short list of them says nothing to those who lack it.
create table subject_key (key bytea not null);
insert into subject_key values (sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));

-- Subjects of erased users, for as long as tokens may live that were issued to them before.
create table erased_subjects (
  hash bytea primary key,                         -- subject_hash()
  erased_at timestamptz not null default now()
);
create index erased_subjects_by_time on erased_subjects (erased_at);

create function forget_subject() returns trigger language plpgsql as $$
begin
  insert into erased_subjects values (subject_hash(old.subject), new.erased_at)
  on conflict (hash) do update set erased_at = excluded.erased_at;
  new.subject := null;
  return new;
end $$;
create trigger users_subject_is_forgotten before update on users
  for each row when (new.erased_at is not null and old.erased_at is null and old.subject is not null)
  execute function forget_subject();

-- Another password, another role: whoever was signed in signs in again.
create function end_sessions() returns trigger language plpgsql as $$
begin
  update sessions set revoked_at = now(), revoked_because = 'the password or the role was changed'
  where user_id = new.id and revoked_at is null;
  delete from password_resets where user_id = new.id;
  return null;
end $$;
create trigger users_sessions_end after update on users
  for each row when (
    new.role <> old.role or old.password_hash is not null and new.password_hash is distinct from old.password_hash
  ) execute function end_sessions();

alter table sessions add column user_agent text;  -- of the sign-in, for the user to tell the sessions apart
create index sessions_revoked on sessions (revoked_at) where revoked_at is not null;
delete from sessions s where not exists (select 1 from refresh_tokens t where t.session_id = s.id);

-- Single-use tokens with which a user chooses a new password.
create table password_resets (
  token_hash bytea primary key,                   -- SHA-256; the token itself is never stored
  user_id text not null unique references users (id), -- the newest counts
  expires_at timestamptz not null,
  created_at timestamptz not null default now(),
  created_by text not null                        -- user id, or 'cli'
);
create index password_resets_by_expiry on password_resets (expires_at);

-- Names are compared by keys in which the Turkish dotless i was an i. (Where letters of the name became several, the key has
-- another length, and stays until the next change of name.)
update users set username_key = (
  select string_agg(case substr(username, n, 1) when 'ı' then 'ı' else substr(username_key, n, 1) end, '' order by n)
  from generate_series(1, char_length(username_key)) n
)
where username like '%ı%' and char_length(username) = char_length(username_key);
