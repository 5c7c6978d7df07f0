-- Erasure that holds, retention that misses nothing, and histories that need not read the whole ledger.

-- Erasures that are not finished: what was written while they were done is cleared again, see finish_erasure.
create table erasures (
  user_id text primary key references users (id),
  at timestamptz not null default clock_timestamp()
);

-- Writers that began before an erasure must not put the person back. The function's body is in functions/.
create function keep_erased() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger users_are_kept_erased before update on users
  for each row when (old.erased_at is not null) execute function keep_erased();

-- Completions have no reason: only corrections are in it.
create index ledger_reasons on ledger (user_id) where reason is not null;
create index if not exists audit_log_by_subject on audit_log (subject);

-- What retention has to look at, oldest first: rows leave these indexes when they are cleared. A completion changes none of
-- the columns (unless the player's address has changed), so that it still updates its row in place.
create index actions_with_addresses on actions (started_at) where ip is not null or user_agent is not null;
create index actions_with_metadata on actions (started_at) where metadata is not null;
create index audit_log_with_addresses on audit_log (at) where jsonb_exists_any(details, array['ip', 'userAgent']);
-- Up to when a kind of upkeep has been done; see workers/maintenance/retention.ts.
create table upkeep_marks (
  key text primary key,
  at timestamptz not null
);

-- Entries are numbered, see 0002.
alter table ledger add column if not exists seq bigint generated always as identity;
drop index ledger_by_user;
create index ledger_by_user on ledger (user_id, seq);
create index ledger_by_seq on ledger using brin (seq) with (pages_per_range = 32);

-- What a user gained on a leaderboard on a day (UTC, by the time of acceptance), from the entries up to daily_gains_mark.summed.
create table daily_gains (
  user_id text not null,
  leaderboard text not null,
  day date not null,
  gain bigint not null,
  primary key (user_id, leaderboard, day)
);
-- One row; see sum_daily_gains.
create table daily_gains_mark (
  only_one boolean primary key default true check (only_one),
  summed bigint not null,                         -- entries up to here are in daily_gains
  fenced bigint not null,                         -- entries up to here had their number when the fence was set
  fence xid8 not null,                            -- transactions older than this may still write such entries
  proposed bigint not null                        -- the next fence is for these
);
-- No entry may come between the two: what is here now is summed now.
lock table ledger in share mode;
insert into daily_gains_mark (summed, fenced, fence, proposed)
select newest, newest, '0', newest from (select coalesce(max(seq), 0) as newest from ledger) entries;
insert into daily_gains (user_id, leaderboard, day, gain)
select user_id, leaderboard, day, sum(gain)
from (
  select user_id, 'global' as leaderboard, (accepted_at at time zone 'UTC')::date as day, global_delta as gain from ledger
  union all
  select user_id, leaderboard, (accepted_at at time zone 'UTC')::date, delta from ledger where leaderboard <> 'global'
) entries
group by user_id, leaderboard, day
having sum(gain) <> 0;
