-- Score rows of board periods for some users, as workers copy them into Redis:
-- [[leaderboard, period, starts at, ends at, [[user id, score, reached at, hidden], ...]], ...], times in ms. A banned or
-- erased user's are hidden, and so is one who has no row on a board (score and time 0): Redis must not show either.
create or replace function index_rows(user_ids text[], board_period_ids integer[]) returns jsonb language plpgsql stable
  set enable_seqscan = off set enable_indexonlyscan = off set enable_mergejoin = off set jit = off as $$
begin
  return (
    select coalesce(jsonb_agg(
      jsonb_build_array(b.leaderboard, b.period, epoch_ms(b.starts_at), epoch_ms(b.ends_at), r.rows)), '[]')
    from (
      select p.id as board_period_id, jsonb_agg(jsonb_build_array(i.user_id, coalesce(s.score, 0), coalesce(epoch_ms(s.reached_at), 0),
          u.hidden or s.score is null)) as rows
      from unnest(user_ids) as i(user_id)
      -- User by user, by the primary keys; without the fences a planner without statistics walks whole boards.
      cross join lateral (
        select banned_at is not null or erased_at is not null as hidden from users where id = i.user_id offset 0
      ) u
      cross join unnest(board_period_ids) as p(id)
      -- As a pair, which the primary key alone can look up. To a planner that has seen an empty table, scores_ranked
      -- would be as good, and walk the whole board for each row.
      left join lateral (
        select * from scores
        where (user_id, board_period_id) >= (i.user_id, p.id) and (user_id, board_period_id) <= (i.user_id, p.id) offset 0
      ) s on true
      group by p.id
    ) r
    join board_periods b on b.id = r.board_period_id
  );
end $$;
