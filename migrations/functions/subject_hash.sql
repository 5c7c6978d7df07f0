-- Under which an erased user's `sub` is remembered for a while.
create or replace function subject_hash(subject text) returns bytea language sql stable security definer
  set search_path from current as $$
  select sha256(k.key || convert_to(subject, 'UTF8')) from subject_key k
$$;
