-- Sets a completion aside that no worker can apply. What counts already, or was cancelled, is left as it is.
--
-- item: {actionId, userId, payload, acceptedAt (ms), reason, client: terms of a client-signed one whose payload can be read}
-- accepted: whether the API accepted it; a job that anybody may have written changes no action, and replaces no acceptance
-- returns whether it was set aside
create or replace function set_aside_completion(item jsonb, accepted boolean) returns boolean language plpgsql as $$
declare
  action actions;
begin
  select * into action from actions where id = item ->> 'actionId' and user_id = item ->> 'userId' for update;
  if action.status in ('completed', 'cancelled') then
    delete from queued_completions where action_id = item ->> 'actionId' and user_id = item ->> 'userId';
    return false;
  end if;
  if not accepted then
    insert into queued_completions (action_id, user_id, payload, accepted_at, dead_at, dead_reason, accepted)
    values (item ->> 'actionId', item ->> 'userId', item -> 'payload', from_epoch_ms((item ->> 'acceptedAt')::bigint), now(),
      item ->> 'reason', false)
    on conflict (action_id, user_id) do nothing;
    return true;
  end if;
  update actions set status = 'rejected' where id = action.id and status in ('started', 'queued', 'expired');
  if action.id is null and item -> 'client' is not null then
    perform insert_client_action(item, 'rejected');
  end if;
  insert into queued_completions (action_id, user_id, payload, accepted_at, dead_at, dead_reason)
  values (item ->> 'actionId', item ->> 'userId', item -> 'payload', from_epoch_ms((item ->> 'acceptedAt')::bigint), now(),
    item ->> 'reason')
  on conflict (action_id, user_id) do update set dead_at = now(), dead_reason = excluded.dead_reason, accepted = true;
  return true;
end $$;
