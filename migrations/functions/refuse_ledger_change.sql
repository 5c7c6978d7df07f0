-- The ledger is append-only. The one exception: the reason of an entry, which an administrator wrote about its user, goes when
-- the user has been erased. Nothing else of the entry may change with it.
create or replace function refuse_ledger_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' and new.reason is null and old.reason is not null
    and to_jsonb(new) - 'reason' = to_jsonb(old) - 'reason'
    and exists (select from users where id = old.user_id and erased_at is not null)
  then
    return new;
  end if;
  raise exception 'the ledger is append-only: write a compensating entry instead' using errcode = 'restrict_violation';
end $$;
