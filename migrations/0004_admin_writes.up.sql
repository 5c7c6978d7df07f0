-- What an administrator's write with an Idempotency-Key did, and what it was answered with: written in the transaction of the write.
create table idempotency_keys (
  actor text not null,
  key text not null,
  operation text not null,                        -- the route's operation id
  request_hash bytea not null,                    -- SHA-256 of params, query and body
  outcome jsonb,                                  -- what the transaction returned: the answer is made of it again if it was lost
  status integer,                                 -- the first answer; null until it is known
  response jsonb,                                 -- {body, headers}
  created_at timestamptz not null default now(),
  primary key (actor, key)
);
create index idempotency_keys_by_age on idempotency_keys (created_at);

-- Corrections that are accepted and not applied yet: what the queues must still hold. The sweeper enqueues what Redis forgot.
create table queued_corrections (
  transaction_id text primary key,
  user_id text not null,
  payload jsonb not null,
  accepted_at timestamptz(3) not null,
  dead_at timestamptz,                            -- set aside: no worker takes it
  dead_reason text
);
create index queued_corrections_by_age on queued_corrections (accepted_at);

-- The job that ran it, as POST /admin/reconciliations named it.
alter table reconciliations add column job_id text;

create index audit_log_by_actor on audit_log (actor, id);
