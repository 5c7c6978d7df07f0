-- Which completions count: marks their actions as completed, once, and returns these. A second transaction waits here, and then
-- finds them taken. One that was accepted after its leaderboard had closed is not taken, and neither is one with another token.
--
-- items: see apply_completions; erased: users of whom nothing personal is written; applied: the instant of the batch
create or replace function take_actions(items jsonb, erased text[], applied timestamptz) returns actions[] language plpgsql as $$
declare
  taken actions[];
  ids text[] := array(select i ->> 'actionId' from jsonb_array_elements(items) i);
begin
  perform insert_client_action(case when i ->> 'userId' = any (erased) then i - '{ip,userAgent}'::text[] else i end, 'started')
  from jsonb_array_elements(items) i where i -> 'client' is not null;
  with took as (
    update actions a
    set status = 'completed', accepted_at = from_epoch_ms(i."acceptedAt"), completed_at = applied,
      ip = case when a.user_id <> all (erased) then coalesce(i.ip, a.ip) end,
      user_agent = case when a.user_id <> all (erased) then coalesce(i."userAgent", a.user_agent) end,
      completion_metadata = case when a.user_id <> all (erased) then i.metadata::jsonb end
    from jsonb_to_recordset(items) as i("actionId" text, "userId" text, "acceptedAt" bigint, "tokenHash" text, ip text, "userAgent" text,
      metadata text)
    where a.id = any (ids) and a.id = i."actionId" and a.user_id = i."userId" and a.status in ('started', 'queued', 'expired')
      and (a.source = 'client' or a.token_hash = decode(i."tokenHash", 'hex'))
      and not exists (
        select from leaderboards b where b.key = a.leaderboard and b.closes_at <= from_epoch_ms(i."acceptedAt")
      )
    returning a as action
  )
  select coalesce(array_agg(action), '{}') into taken from took;
  return taken;
end $$;
