-- What became of the items that were not taken: [{actionId, userId, outcome, ...}], null for none. A duplicate carries the
-- figures that its entry in the ledger has.
--
-- others: actions of the items' ids that were not taken
create or replace function refused_completions(items jsonb, taken actions[], others actions[]) returns json language plpgsql stable as $$
begin
  return (
    select json_agg(jsonb_build_object('actionId', i ->> 'actionId', 'userId', i ->> 'userId', 'outcome', outcome)
      || coalesce(before, '{}'))
    from jsonb_array_elements(items) i
    left join unnest(taken || others) a on a.id = i ->> 'actionId'
    cross join lateral (
      select case
        when a.id is null then 'unknown'
        when a.user_id <> i ->> 'userId' then 'not_yours'
        when a.status = 'completed' then 'duplicate'
        when a.status in ('cancelled', 'rejected', 'held') then a.status
        when a.source = 'client' or a.token_hash = decode(i ->> 'tokenHash', 'hex') then 'closed'
        else 'token_mismatch'
      end as outcome
    ) o
    left join lateral (
      select jsonb_build_object('leaderboard', a.leaderboard, 'type', a.type, 'transactionId', l.id,
          'previous', l.before, 'current', l.after, 'delta', l.delta,
          'acceptedAt', epoch_ms(a.accepted_at), 'completedAt', epoch_ms(a.completed_at))
        || case when r.found then jsonb_build_object('rank', jsonb_build_array(r.previous, r.current)) else '{}' end as before
      from (select * from ledger where action_id = a.id limit 1) l
      left join lateral (select true as found, previous, current from completion_ranks where action_id = a.id limit 1) r on true
      where outcome = 'duplicate'
    ) b on true
    where not exists (select from unnest(taken) t where t.id = i ->> 'actionId' and t.user_id = i ->> 'userId')
  );
end $$;
