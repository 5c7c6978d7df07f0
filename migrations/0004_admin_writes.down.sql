drop index audit_log_by_actor;
alter table reconciliations drop column job_id;
drop table queued_corrections;
drop table idempotency_keys;
