-- Keeps the ranks that completions were answered with: [[actionId, previous, current, entered], ...], ranks null for
-- none. A rank that entered the top of the global leaderboard unlocks achievements.
-- They are a courtesy to replays, so their commit need not wait for the disk.
create or replace function record_ranks(ranks jsonb) returns void language plpgsql security definer
  set search_path from current as $$
begin
  perform set_config('synchronous_commit', 'off', true);
  insert into completion_ranks (action_id, previous, current)
  select r ->> 0, (r ->> 1)::integer, (r ->> 2)::integer from jsonb_array_elements(ranks) r
  on conflict (action_id) do nothing;
  if exists (select from jsonb_array_elements(ranks) r where r ->> 3 is not null) then
    insert into achievements (user_id, key, action_id, unlocked_at)
    select a.user_id, 'rank-' || m.place, a.id, a.accepted_at
    from jsonb_array_elements(ranks) r
    join unnest(array[100, 10, 3, 1]) m(place) on (r ->> 3)::integer <= m.place
    cross join lateral (select * from actions where id = r ->> 0 offset 0) a
    -- The entry may have been taken back before its ranks were kept.
    where not exists (
      select from ledger l join ledger undo on undo.reverses = l.id and undo.kind = 'rollback' where l.action_id = a.id)
    order by a.user_id, m.place
    on conflict do nothing;
  end if;
end $$;
