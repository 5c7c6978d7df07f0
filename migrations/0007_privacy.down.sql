drop function if exists erase_user(text);
drop function if exists finish_erasure(text, integer);
drop function if exists scrub_user(text, integer);
drop function if exists sum_daily_gains(bigint);
drop trigger users_are_kept_erased on users;
drop function keep_erased();
drop table erasures, upkeep_marks, daily_gains, daily_gains_mark;
drop index actions_with_addresses, actions_with_metadata, audit_log_with_addresses, ledger_reasons, ledger_by_seq, ledger_by_user;
create index ledger_by_user on ledger (user_id, accepted_at);
