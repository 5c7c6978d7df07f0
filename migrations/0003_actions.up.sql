-- A completion that no worker can apply is set aside, so that it stops nobody else: when, why, and whether the API had accepted it
-- (a job that only stood in Redis may be anybody's).
alter table queued_completions
  add column dead_at timestamptz,
  add column dead_reason text,
  add column accepted boolean not null default true;
-- Two users may sign one id: each acceptance is a row of its own.
alter table queued_completions drop constraint queued_completions_pkey;
alter table queued_completions add primary key (action_id, user_id);
-- What the sweeper goes through, oldest first.
create index queued_completions_by_acceptance on queued_completions (accepted_at, action_id, user_id) where dead_at is null;
create index queued_completions_dead on queued_completions (dead_at) where dead_at is not null;

-- Whether games may complete actions of the type by their own signature, see docs/security.md.
alter table action_types add column client_signed boolean not null default false;

-- What the game said of the completion; `metadata` is what it said at the start.
alter table actions add column completion_metadata jsonb;
