-- Writes the standings of a board period from its scores: the best `places` of it (0 = all), ranks and all. The caller has locked
-- the period's row. Banned users are in them, and readers leave them out, so that they come back when the ban is
-- lifted; a user who was erased before the period was frozen is not.
create or replace function freeze_standings(board_period integer) returns void language plpgsql as $$
declare
  frozen timestamptz := (select archived_at from board_periods where id = board_period);
  most integer := (select places from board_periods where id = board_period);
begin
  delete from standings where board_period_id = board_period;
  insert into standings (board_period_id, rank, user_id, score, reached_at)
  select board_period, row_number() over total_order, s.user_id, s.score, s.reached_at
  from scores s join users u on u.id = s.user_id
  where s.board_period_id = board_period and (u.erased_at is null or u.erased_at > frozen)
  window total_order as (order by s.score desc, s.reached_at, s.user_id collate "C")
  order by s.score desc, s.reached_at, s.user_id collate "C"
  limit nullif(most, 0);
  update board_periods set total = (
      select count(*) from scores s join users u on u.id = s.user_id
      where s.board_period_id = board_period and (u.erased_at is null or u.erased_at > frozen))
  where id = board_period;
end $$;
