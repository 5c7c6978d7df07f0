-- The ledger says what each entry did, board period by board period, so that it can be taken back exactly and replayed.
-- Rewrites the ledger: on a large one it takes minutes, in which nothing is applied. Stop the workers first.
alter table ledger
  alter column points type bigint,                -- an administrator may give more than 2^31
  -- The order in which a user's entries were applied: it is drawn while the user is locked.
  add column seq bigint generated always as identity,
  -- One row a board period that the entry changed: {board_periods.id, delta, when the score after it was reached (ms)}.
  -- Null in entries that are older than the column: what they did to periods is not known.
  add column effects bigint[];
alter table ledger add check (effects is null or cardinality(effects) = 0 or array_length(effects, 2) = 3);
-- Few entries are corrections, and they are looked for by what they reverse, or by time.
create index ledger_corrections on ledger (applied_at) where kind <> 'completion';

alter table board_periods
  add column places integer,                      -- how many places were kept when it was frozen, 0 = all
  add column corrected_at timestamptz;            -- when its frozen standings were last changed

-- From here on `closed_at` is the instant from which nothing counts, which for a period that ended by itself is its end.
update board_periods set closed_at = ends_at where closed_at > ends_at;
update board_periods bp set places = case when kept < total then kept else 0 end
from (select board_period_id, count(*) as kept from standings group by 1) s
where s.board_period_id = bp.id;
update board_periods set places = 0 where archived_at is not null and places is null;

-- Leaderboards that were closed and opened again had their all-time board left closed: what was played since counted nowhere.
delete from standings where board_period_id in (
  select bp.id from board_periods bp join leaderboards b on b.key = bp.leaderboard
  where bp.period = 'all' and bp.closed_at is not null and b.closes_at is null);
update board_periods bp set closed_at = null, archived_at = null, total = null, places = null
from leaderboards b
where b.key = bp.leaderboard and bp.period = 'all' and bp.closed_at is not null and b.closes_at is null;
