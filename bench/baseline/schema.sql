-- What a scoreboard written by hand keeps: users, one-time actions, a ledger, and a score a board and user.
drop schema if exists baseline cascade;
create schema baseline;

create table baseline.users (
  id text primary key,
  username text not null
);

create table baseline.actions (
  id uuid primary key,
  user_id text not null references baseline.users (id),
  type text not null,
  points integer not null,
  status text not null default 'started',
  created_at timestamptz not null default now(),
  completed_at timestamptz
);
create index actions_by_user on baseline.actions (user_id);

create table baseline.scores (
  board text not null,
  user_id text not null references baseline.users (id),
  score bigint not null default 0,
  updated_at timestamptz not null default now(),
  primary key (user_id, board)
);
create index scores_by_score on baseline.scores (board, score desc);

create table baseline.ledger (
  id bigint generated always as identity primary key,
  action_id uuid not null unique references baseline.actions (id),
  user_id text not null references baseline.users (id),
  boards text[] not null,
  delta integer not null,
  before bigint not null,
  after bigint not null,
  ip text,
  created_at timestamptz not null default now()
);
