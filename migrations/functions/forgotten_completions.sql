-- Completions that were promised (202) to the users of `items` before their newest one here, and that are not among the items:
-- Redis has forgotten them. Returns [{actionId, userId, payload, acceptedAt}], or null for none.
create or replace function forgotten_completions(items jsonb) returns jsonb language plpgsql stable as $$
begin
  return (
    select jsonb_agg(jsonb_build_object('actionId', q.action_id, 'userId', u.user_id, 'payload', q.payload,
      'acceptedAt', epoch_ms(q.accepted_at)))
    from (
      select i ->> 'userId' as user_id, max((i ->> 'acceptedAt')::bigint) as newest from jsonb_array_elements(items) i group by 1
    ) u
    cross join lateral (
      select action_id, payload, accepted_at from queued_completions
      where user_id = u.user_id and accepted_at < from_epoch_ms(u.newest) and dead_at is null offset 0
    ) q
    where (q.action_id, u.user_id) not in (select i ->> 'actionId', i ->> 'userId' from jsonb_array_elements(items) i)
  );
end $$;
