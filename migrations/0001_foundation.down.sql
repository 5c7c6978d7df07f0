drop function if exists record_ranks(jsonb);
drop function if exists record_acceptance(jsonb);
drop function if exists apply_correction(jsonb);
drop function if exists apply_completions(jsonb);
drop function if exists archive_board_period(integer, integer);
drop function if exists close_board_period(integer);
drop function if exists index_rows(text[], integer[]);
drop function if exists lock_users(text[]);
drop function if exists from_epoch_ms(bigint);
drop function if exists epoch_ms(timestamptz);
drop function if exists period_end(text, timestamptz);
drop function if exists period_start(text, timestamptz);
drop table if exists function_set;
drop table if exists
  reconciliations, audit_log, features, achievements, friends, standings, queued_completions, completion_ranks,
  ledger, actions, scores, board_periods, action_types, leaderboards, refresh_tokens, sessions, users cascade;
drop function if exists refuse_ledger_change();
