drop function if exists set_aside_completion(jsonb, boolean);
alter table actions drop column completion_metadata;
alter table action_types drop column client_signed;
drop index queued_completions_dead;
drop index queued_completions_by_acceptance;
delete from queued_completions where dead_at is not null;
-- One row an action again: of two users who signed one id, the earlier keeps it.
delete from queued_completions q using queued_completions other
where other.action_id = q.action_id and (other.accepted_at, other.user_id) < (q.accepted_at, q.user_id);
alter table queued_completions drop constraint queued_completions_pkey;
alter table queued_completions add primary key (action_id);
alter table queued_completions drop column dead_at, drop column dead_reason, drop column accepted;
