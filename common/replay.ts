import { boardAt, type BoardRef } from './board/board.ts';
import type { Period } from './periods.ts';
import type { Database } from './postgres.ts';

/** A score that the ledger and the score rows tell differently, or an entry that contradicts those before it. */
export interface ReplayDifference {
  readonly userId: string;
  /** `leaderboard:period:starts at (ms)` */
  readonly board: string;
  /** what the ledger says: score, and when it was reached (ms); null for no row */
  readonly ledger: readonly [score: number, reachedAt: number] | null;
  /** what the score row says */
  readonly scores: readonly [score: number, reachedAt: number] | null;
  /** of an entry: what is wrong with it */
  readonly entry?: { readonly id: string; readonly fault: string };
}

export interface Replay {
  readonly users: number;
  readonly entries: number;
  /** score rows held against the ledger */
  readonly rows: number;
  /** entries that do not say what they did to each board, as they are older than `ledger.effects` */
  readonly unchecked: number;
  /** how many there are; `differences` lists the first of them */
  readonly different: number;
  readonly differences: readonly ReplayDifference[];
}

interface EntryRow {
  id: string;
  kind: string;
  user_id: string;
  leaderboard: string;
  delta: string;
  before: string;
  after: string;
  global_delta: string;
  accepted_at: Date;
  seq: string;
  effects: string[][] | null;
}

interface PeriodRow {
  id: number;
  leaderboard: string;
  period: Period;
  starts_at: Date;
}

const CHUNK_USERS = 200;
const CHUNK_ENTRIES = 5000;
const LISTED = 100;

/** What the entries of one user come to on a board period. */
interface Sum {
  score: number;
  reachedAt: number;
}

/**
 * Adds up the ledger, user by user and in the order in which entries were applied, and holds scores, periods and the times
 * that break ties against the score rows. Each chunk of users is read as of one instant, so that play may go on.
 *
 * Of entries that are older than `ledger.effects` only the all-time scores are known: a user who has some is compared on those
 * boards, without the times.
 */
export async function replay(db: Database): Promise<Replay> {
  const found = { users: 0, entries: 0, rows: 0, unchecked: 0, different: 0 };
  const differences: ReplayDifference[] = [];
  const report = (difference: ReplayDifference): void => {
    found.different += 1;
    if (differences.length < LISTED) differences.push(difference);
  };
  const boards = new KnownBoards();
  let last = '';
  for (;;) {
    const users: string[] = await db<{ id: string }>('users')
      .whereRaw('id collate "C" > ?', [last])
      .orderByRaw('id collate "C"')
      .limit(CHUNK_USERS)
      .pluck('id');
    last = users.at(-1) ?? '';
    if (users.length === 0) return { ...found, differences };
    await db.transaction(
      async (trx) => {
        const sums = new Map<string, Map<number, Sum>>();
        const unknown = new Set<string>();
        for await (const entries of entriesOf(trx, users)) {
          await boards.learn(trx, entries);
          for (const entry of entries) {
            found.entries += 1;
            if (entry.effects === null) found.unchecked += 1;
            const own = sums.get(entry.user_id) ?? new Map<number, Sum>();
            sums.set(entry.user_id, own);
            if (entry.effects === null) unknown.add(entry.user_id);
            const fault = add(entry, own, boards, unknown.has(entry.user_id));
            if (fault !== undefined) {
              report({
                userId: entry.user_id,
                board: entry.leaderboard,
                ledger: null,
                scores: null,
                entry: { id: entry.id, fault },
              });
            }
          }
        }
        const rows = await trx<{ user_id: string; board_period_id: number; score: string; reached_at: Date }>(
          'scores',
        )
          .whereIn('user_id', users)
          .select('user_id', 'board_period_id', 'score', 'reached_at');
        await boards.learn(
          trx,
          [],
          rows.map((row) => row.board_period_id),
        );
        const kept = new Map<string, Map<number, Sum>>();
        for (const row of rows) {
          const own = kept.get(row.user_id) ?? new Map<number, Sum>();
          kept.set(row.user_id, own);
          own.set(row.board_period_id, { score: Number(row.score), reachedAt: row.reached_at.getTime() });
        }
        for (const userId of users) {
          const [ledger, scores] = [sums.get(userId), kept.get(userId)];
          const isKnown = !unknown.has(userId);
          for (const id of new Set([...(ledger?.keys() ?? []), ...(scores?.keys() ?? [])])) {
            const board = boards.get(id);
            if (!board || (!isKnown && board.period !== 'all')) continue;
            found.rows += 1;
            const [told, row] = [ledger?.get(id), scores?.get(id)];
            const expected = told && told.score !== 0 ? told : undefined;
            const same =
              expected?.score === row?.score && (!isKnown || expected?.reachedAt === row?.reachedAt);
            if (!same) report({ userId, board: nameOf(board), ledger: pair(expected), scores: pair(row) });
          }
        }
        found.users += users.length;
      },
      { isolationLevel: 'repeatable read', readOnly: true },
    );
  }
}

const pair = (sum: Sum | undefined): readonly [number, number] | null =>
  sum ? [sum.score, sum.reachedAt] : null;
const nameOf = (board: BoardRef): string => `${board.leaderboard}:${board.period}:${board.startsAt}`;

/** The entries of some users in the order in which they were applied. */
async function* entriesOf(db: Database, users: readonly string[]): AsyncGenerator<EntryRow[]> {
  let after = '-1';
  for (;;) {
    const entries: EntryRow[] = await db<EntryRow>('ledger')
      .whereIn('user_id', [...users])
      .andWhere('seq', '>', after)
      .orderBy('seq')
      .limit(CHUNK_ENTRIES)
      .select(
        'id',
        'kind',
        'user_id',
        'leaderboard',
        'delta',
        'before',
        'after',
        'global_delta',
        'accepted_at',
      )
      .select('seq', 'effects');
    const lastEntry = entries.at(-1);
    if (!lastEntry) return;
    yield entries;
    if (entries.length < CHUNK_ENTRIES) return;
    after = lastEntry.seq;
  }
}

/** Board periods by their ids, read when they are first met; all-time boards by their leaderboards as well. */
class KnownBoards {
  readonly #boards = new Map<number, BoardRef>();
  readonly #allTime = new Map<string, number>();

  get(id: number): BoardRef | undefined {
    return this.#boards.get(id);
  }

  allTime(leaderboard: string): number | undefined {
    return this.#allTime.get(leaderboard);
  }

  async learn(db: Database, entries: readonly EntryRow[], others: readonly number[] = []): Promise<void> {
    const named = entries.flatMap(({ effects }) => (effects ?? []).map(([id]) => Number(id)));
    const missing = [...new Set([...named, ...others])].filter((id) => !this.#boards.has(id));
    if (missing.length === 0 && entries.every(({ leaderboard }) => this.#allTime.has(leaderboard))) return;
    const rows: PeriodRow[] = await db<PeriodRow>('board_periods')
      .whereIn('id', missing)
      .orWhere('period', 'all')
      .select('id', 'leaderboard', 'period', 'starts_at');
    // By our own calendar, so that one that Postgres reckons otherwise is found.
    for (const { id, leaderboard, period, starts_at: startsAt } of rows) {
      this.#boards.set(id, boardAt(leaderboard, period, startsAt.getTime()));
      if (period === 'all') this.#allTime.set(leaderboard, id);
    }
  }
}

/** Adds an entry to what its user has. @returns what is wrong with it, if anything */
function add(
  entry: EntryRow,
  own: Map<number, Sum>,
  boards: KnownBoards,
  isPartlyKnown: boolean,
): string | undefined {
  const named = boards.allTime(entry.leaderboard);
  const before = (named !== undefined && own.get(named)?.score) || 0;
  let fault: string | undefined;
  if (before !== Number(entry.before))
    fault = `it begins at ${entry.before}, and the entries before it come to ${before}`;
  const effects = entry.effects ?? [
    [named, entry.delta, 0],
    ...(entry.leaderboard === 'global' ? [] : [[boards.allTime('global'), entry.global_delta, 0]]),
  ];
  for (const [id, delta, reachedAt] of effects) {
    const board = boards.get(Number(id));
    if (!board) {
      fault ??= `it changed a board period ${id} that does not exist`;
      continue;
    }
    const at = entry.accepted_at.getTime();
    const isOfItsTime =
      entry.kind === 'rollback' || boardAt(board.leaderboard, board.period, at).startsAt === board.startsAt;
    if (!isOfItsTime) fault ??= `it was accepted outside ${nameOf(board)}, which it changed`;
    const score = (own.get(Number(id))?.score ?? 0) + Number(delta);
    if (score < 0 && !isPartlyKnown) fault ??= `it takes ${nameOf(board)} below 0`;
    own.set(Number(id), { score, reachedAt: Number(reachedAt) });
  }
  const after = (named !== undefined && own.get(named)?.score) || 0;
  if (after !== Number(entry.after)) fault ??= `it ends at ${entry.after}, and its effects at ${after}`;
  return fault;
}
