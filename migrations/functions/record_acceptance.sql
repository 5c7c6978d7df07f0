-- Makes a 202 durable: the action is queued, and the payload is kept until it has been applied.
-- Returns {status, acceptedAt}: the action's status afterwards, and when the completion that counts was accepted (ms).
-- The status is 'completed' when the worker was faster, 'not_yours' when the action is another user's, and null when
-- there is no such action. A client-signed one gets its row here, so that its id is this user's and no other's.
create or replace function record_acceptance(job jsonb) returns jsonb language plpgsql as $$
declare
  action actions;
begin
  -- An erasure waits for this lock and clears the payload, or has been done, and the payload is cleared here.
  if (select erased_at is not null from users where id = job ->> 'userId' for share) then
    job := (job - 'metadata') || '{"ip": null, "userAgent": null}';
  end if;
  if job -> 'client' is not null then
    perform insert_client_action(job, 'queued');
  end if;
  select * into action from actions where id = job ->> 'actionId' for update;
  if action.user_id <> job ->> 'userId' then
    return jsonb_build_object('status', 'not_yours');
  end if;
  if action.status in ('started', 'expired') then
    update actions set status = 'queued', accepted_at = from_epoch_ms((job ->> 'acceptedAt')::bigint)
    where id = action.id returning * into action;
  end if;
  if action.id is null or action.status = 'queued' then
    insert into queued_completions (action_id, user_id, payload, accepted_at)
    values (job ->> 'actionId', job ->> 'userId', job, from_epoch_ms((job ->> 'acceptedAt')::bigint))
    on conflict (action_id, user_id) do update
      set payload = excluded.payload, accepted_at = excluded.accepted_at, dead_at = null, dead_reason = null, accepted = true
      where queued_completions.dead_at is not null;
  end if;
  return jsonb_build_object('status', action.status, 'acceptedAt', epoch_ms(action.accepted_at));
end $$;
