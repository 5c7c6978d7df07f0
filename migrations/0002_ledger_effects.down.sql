drop function if exists close_board_period(integer, bigint);
drop function if exists open_leaderboard(text);
drop function if exists correct_archive(integer);
drop function if exists freeze_standings(integer);
drop function if exists standing_without(text, text, integer);
-- The functions of the version before are to be applied again.
drop table if exists function_set;
alter table board_periods drop column if exists places, drop column if exists corrected_at;
drop index if exists ledger_corrections;
alter table ledger drop column if exists effects, drop column if exists seq,
  alter column points type integer using least(greatest(points, -2147483648), 2147483647)::integer;
