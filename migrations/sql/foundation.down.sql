drop table if exists
  reconciliations, audit_log, features, achievements, friends, standings, queued_completions, completion_ranks,
  ledger, actions, scores, board_periods, action_types, leaderboards, refresh_tokens, sessions, users cascade;
drop function if exists refuse_ledger_change();
