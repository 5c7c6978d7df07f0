-- The whole of Laurel's state. Redis holds nothing that cannot be made again from here.
--
-- Hot tables (actions, ledger, scores) carry no foreign keys: users and boards are never deleted, every writer has
-- checked them, and a key-share lock on users for each start and completion would be paid on every one.

create table users (
  id text primary key check (id ~ '^[A-Za-z0-9][A-Za-z0-9_.:@|+=-]{0,127}$'),
  username text not null,
  username_key text not null unique,              -- NFKC and lower case: names are unique without regard to case
  email text,
  email_key text unique,
  password_hash text,                             -- argon2id; null for users of an outside identity service
  role text not null default 'player' check (role in ('player', 'admin')),
  avatar_url text check (avatar_url ~ '^https://'),
  allow_spectators boolean not null default true,
  banned_at timestamptz,
  ban_reason text,
  erased_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

-- Whom no board shows.
create index users_hidden on users (id) where banned_at is not null or erased_at is not null;

-- One login: a family of refresh tokens and the key that signs client-signed completions (derived from the id).
create table sessions (
  id text primary key,
  user_id text not null references users (id),
  created_at timestamptz not null default now(),
  revoked_at timestamptz,
  revoked_because text
);
create index sessions_by_user on sessions (user_id);

create table refresh_tokens (
  token_hash bytea primary key,                   -- SHA-256; the token itself is never stored
  session_id text not null references sessions (id) on delete cascade,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at timestamptz
);
create index refresh_tokens_by_session on refresh_tokens (session_id);
create index refresh_tokens_by_expiry on refresh_tokens (expires_at);

create table leaderboards (
  key text primary key check (key ~ '^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$'),
  title text not null,
  score_cap bigint not null default 1000000 check (score_cap between 1 and 1000000000000),
  max_points_per_update bigint not null default 100 check (max_points_per_update between 1 and 1000000000),
  periods text[] not null default '{all,daily,weekly,monthly}'
    check (periods <@ '{all,daily,weekly,monthly}' and 'all' = any (periods)),
  visibility text not null default 'public' check (visibility in ('public', 'private')),
  operator text not null default 'sum' check (operator in ('sum')),
  opens_at timestamptz,
  closes_at timestamptz,
  archived_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table action_types (
  key text primary key check (key ~ '^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$'),
  title text not null,
  points integer not null check (points between 0 and 1000000),
  difficulties jsonb not null default '{}',       -- difficulty -> multiplier of the points
  leaderboards text[],                            -- where it may be played; null = everywhere
  min_duration_ms integer not null default 0 check (min_duration_ms between 0 and 300000),
  archived_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

-- One board in one period: the unit that has standings, is ranked, closed and archived.
create table board_periods (
  id integer generated always as identity primary key,
  leaderboard text not null references leaderboards (key),
  period text not null check (period in ('all', 'daily', 'weekly', 'monthly')),
  starts_at timestamptz not null,                 -- inclusive; 1970-01-01 for 'all'
  ends_at timestamptz,                            -- exclusive; null for 'all'
  closed_at timestamptz,                          -- from here on nothing counts in it any more
  archived_at timestamptz,                        -- its standings are frozen
  total bigint,                                   -- how many stood on it when it was frozen
  unique (leaderboard, period, starts_at)
);
create index board_periods_unarchived on board_periods (ends_at) where archived_at is null;

create table scores (
  board_period_id integer not null,
  user_id text not null,
  score bigint not null check (score >= 0),
  reached_at timestamptz(3) not null,             -- when this score was reached; strictly later at every change
  primary key (user_id, board_period_id)          -- a user's rows change together, and so stand together
) with (fillfactor = 80);
-- The total order: score descending, then who reached it first, then user id. In C order, as Redis compares members.
create index scores_ranked on scores (board_period_id, score desc, reached_at, user_id collate "C");

create table actions (
  id text primary key,
  user_id text not null,
  type text not null,
  leaderboard text not null,
  points integer not null,                        -- fixed when the action starts
  difficulty text,
  status text not null default 'started'
    check (status in ('started', 'queued', 'completed', 'cancelled', 'expired', 'held', 'rejected')),
  source text not null default 'server' check (source in ('server', 'client')),
  token_hash bytea,                               -- SHA-256 of the action token
  metadata jsonb,
  started_at timestamptz(3) not null,
  expires_at timestamptz(3) not null,
  accepted_at timestamptz(3),
  completed_at timestamptz(3),
  ip text,
  user_agent text
) with (fillfactor = 75);                         -- room for the completion to update the row in place
create index actions_by_user on actions (user_id, id desc);
-- A block-range index, which in-place updates need not touch, finds the recent past for the expiry job.
create index actions_by_start on actions using brin (started_at) with (pages_per_range = 32);

create table ledger (
  id text primary key,                            -- the transactionId that clients see
  kind text not null check (kind in ('completion', 'adjustment', 'rollback')),
  action_id text unique,                          -- at most one entry an action: exactly once, by constraint
  user_id text not null,
  leaderboard text not null,
  type text,
  points integer not null,                        -- what it was worth, before limits
  delta bigint not null,                          -- what the named leaderboard's all-time score changed by
  before bigint not null,
  after bigint not null check (after >= 0),
  global_delta bigint not null,                   -- what the global leaderboard changed by: its own cap may differ
  accepted_at timestamptz(3) not null,
  applied_at timestamptz(3) not null default now(),
  reverses text references ledger (id),
  reason text,
  actor text,
  check (after = before + delta)
);
create index ledger_by_user on ledger (user_id, accepted_at);
-- An entry can be rolled back once.
create unique index ledger_rolled_back_once on ledger (reverses) where kind = 'rollback';

create function refuse_ledger_change() returns trigger language plpgsql as $$
begin
  raise exception 'the ledger is append-only: write a compensating entry instead' using errcode = 'restrict_violation';
end $$;
create trigger ledger_is_append_only before update or delete on ledger
  for each row execute function refuse_ledger_change();
create trigger ledger_is_not_truncated before truncate on ledger
  for each statement execute function refuse_ledger_change();

-- Ranks that a completion was answered with. They are known only after its transaction, so they stand beside the ledger.
create table completion_ranks (
  action_id text primary key,
  previous integer,
  current integer
);

-- Completions that were answered with 202: what the queue must still hold. The sweeper enqueues what it forgot.
create table queued_completions (
  action_id text primary key,
  user_id text not null,
  payload jsonb not null,
  accepted_at timestamptz(3) not null,
  enqueued_at timestamptz not null default now()
);
create index queued_completions_by_user on queued_completions (user_id, accepted_at);

-- Final standings of closed periods.
create table standings (
  board_period_id integer not null references board_periods (id),
  rank integer not null check (rank >= 1),
  user_id text not null,
  score bigint not null,
  reached_at timestamptz(3) not null,
  primary key (board_period_id, rank)
);
create unique index standings_by_user on standings (board_period_id, user_id);

create table friends (
  user_id text not null references users (id),
  friend_id text not null references users (id),
  since timestamptz not null default now(),
  primary key (user_id, friend_id),
  check (user_id <> friend_id)
);

create table achievements (
  user_id text not null references users (id),
  key text not null,
  action_id text,                                 -- the completion that unlocked it
  unlocked_at timestamptz(3) not null default now(),
  primary key (user_id, key)
);

create table features (
  key text primary key,
  value jsonb not null,
  updated_at timestamptz not null default now(),
  updated_by text
);

create table audit_log (
  id text primary key,
  at timestamptz not null default now(),
  actor text not null,                            -- user id, or 'system'
  action text not null,
  subject text,
  details jsonb not null default '{}'
);
create index audit_log_by_time on audit_log (at desc);

create table reconciliations (
  id text primary key,
  trigger text not null check (trigger in ('schedule', 'cli', 'admin', 'restart')),
  started_at timestamptz not null default now(),
  finished_at timestamptz,
  compared bigint not null default 0,             -- rows of Postgres held against Redis
  drifted bigint not null default 0,              -- users whose entry was missing, wrong or too many
  error text
);
create index reconciliations_by_time on reconciliations (started_at desc);
