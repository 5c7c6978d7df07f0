-- Gives a completion that the game's client signed the row of its action, unless there is one of this id.
--
-- item: {actionId, userId, acceptedAt (ms), ip, userAgent, client: {type, leaderboard, points, difficulty}}
create or replace function insert_client_action(item jsonb, new_status text) returns void language plpgsql as $$
declare
  terms jsonb := item -> 'client';
  accepted timestamptz := from_epoch_ms((item ->> 'acceptedAt')::bigint);
begin
  insert into actions (id, user_id, type, leaderboard, points, difficulty, status, source, started_at, expires_at, accepted_at, ip, user_agent)
  values (item ->> 'actionId', item ->> 'userId', terms ->> 'type', terms ->> 'leaderboard',
    -- Of one that cannot count, and may be set aside for its points.
    case when new_status = 'rejected' then least((terms ->> 'points')::bigint, 2147483647) else (terms ->> 'points')::bigint end,
    terms ->> 'difficulty', new_status, 'client', accepted, accepted, case when new_status = 'queued' then accepted end,
    item ->> 'ip', item ->> 'userAgent')
  on conflict (id) do nothing;
end $$;
