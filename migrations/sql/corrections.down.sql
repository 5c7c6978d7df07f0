drop function if exists archive_board_period(integer, integer);
drop function if exists close_board_period(integer);
drop function if exists apply_correction(jsonb);
drop index if exists ledger_rolled_back_once;
