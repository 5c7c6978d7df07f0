-- Clears everything personal that is kept of an erased user outside of the users table, of at most `most` actions. What was
-- cleared before costs a look only. Returns how many actions it cleared.
create or replace function scrub_user(target text, most integer) returns integer language plpgsql security definer
  set search_path from current as $$
declare
  cleared integer;
begin
  delete from sessions where user_id = target;
  delete from friends where user_id = target or friend_id = target;
  update queued_completions set payload = (payload - 'metadata') || '{"ip": null, "userAgent": null}'
  where user_id = target
    and (payload ->> 'ip' is not null or payload ->> 'userAgent' is not null or payload ->> 'metadata' is not null);
  update ledger set reason = null where user_id = target and reason is not null;
  -- Of what administrators did about the user, figures and ids stay, and nothing that somebody has written.
  update audit_log set details = kept.details
  from (
    select a.id, coalesce(jsonb_object_agg(d.key, d.value) filter (where
      jsonb_typeof(d.value) in ('number', 'boolean', 'null')
      or d.key in ('userId', 'transactionId', 'reverses', 'rollbackId', 'leaderboard', 'period', 'queue', 'jobId', 'role')), '{}') as details
    from audit_log a left join lateral jsonb_each(a.details) d on true
    where a.subject = target
    group by a.id
  ) kept
  where audit_log.id = kept.id and audit_log.details <> kept.details;
  -- The first answers, with which requests of administrators are answered again.
  update idempotency_keys set response = response #- '{body,reason}',
    outcome = case when jsonb_typeof(outcome) = 'object' then outcome - 'reason' else outcome end
  where (outcome ->> 'userId' = target or response #>> '{body,userId}' = target)
    and (outcome ->> 'reason' is not null or response #>> '{body,reason}' is not null);
  -- What is not dead will be applied, and its reason taken out of the ledger.
  update queued_corrections set payload = payload - 'reason'
  where user_id = target and dead_at is not null and payload ->> 'reason' is not null;
  update actions set ip = null, user_agent = null, metadata = null, completion_metadata = null
  where id in (
    select id from actions
    where user_id = target and (ip is not null or user_agent is not null or metadata is not null or completion_metadata is not null)
    order by id desc limit most
  );
  get diagnostics cleared = row_count;
  return cleared;
end $$;
