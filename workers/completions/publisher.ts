import { achievementTitle, rankAchievements } from '../../common/achievements.ts';
import { nameOf, parseResult, RESULT_LIFETIME_S } from '../../common/actions.ts';
import { boardAt, boardId, GLOBAL_BOARD, type BoardRef, type BoardSource } from '../../common/board/board.ts';
import type { BoardIndex, RankMove, ScoreChange } from '../../common/board/board-index.ts';
import { changeOfRow, type IndexRow } from '../../common/board/index-rows.ts';
import type {
  ActionEvent,
  CompletionEvent,
  CompletionReply,
  CompletionResult,
  RankMilestone,
} from '../../common/events.ts';
import type { CompletionJob, CorrectionJob } from '../../common/queues.ts';
import { loadScript, scriptCaller, unwrap, type Redis } from '../../common/redis.ts';
import type { AppliedBatch, AppliedCorrection, AppliedItem } from './ledger.ts';
import { Milestones, type Step } from './milestones.ts';
import type { RankRecorder } from './rank-recorder.ts';

/** The board whose top unlocks achievements. */
const GLOBAL_ALL = boardAt(GLOBAL_BOARD, 'all', 0);

const settle = loadScript(new URL('lua/settle.lua', import.meta.url));

type Counted = Extract<AppliedItem, { outcome: 'completed' | 'duplicate' }>;

const isCounted = (item: AppliedItem): item is Counted =>
  item.outcome === 'completed' || item.outcome === 'duplicate';

/** Tells the world what a transaction changed, after its commit. Every step may be repeated. */
export class Publisher {
  readonly #redis: Redis;
  readonly #index: BoardIndex;
  readonly #table: BoardSource;
  readonly #recorder: RankRecorder;
  readonly #milestones: Milestones;
  readonly #scripts: ReturnType<typeof scriptCaller>;
  readonly #now: () => number;

  /**
   * @param table ranks come from Postgres while a board is being made again in Redis
   * @param now the time by the clock that stamped acceptances, ms
   */
  constructor(
    redis: Redis,
    index: BoardIndex,
    table: BoardSource,
    recorder: RankRecorder,
    now: () => number = Date.now,
  ) {
    this.#now = now;
    this.#redis = redis;
    this.#index = index;
    this.#table = table;
    this.#recorder = recorder;
    this.#milestones = new Milestones(redis);
    this.#scripts = scriptCaller(redis, [settle]);
  }

  /**
   * Brings the boards up to date, keeps the results for replays, answers the API instances that wait, and emits the
   * events. Two round trips for the whole batch, and a third when somebody entered the top of a board.
   */
  async publish(batch: AppliedBatch): Promise<CompletionReply[]> {
    const { jobs } = batch;
    const told = await this.#toldBefore(batch);
    const { ranks, milestones } = await this.#applyToBoards(jobs, batch);
    const replies = jobs.map((job, i): CompletionReply => {
      const item = batch.items[i] as AppliedItem;
      const { userId, actionId } = job;
      if (!isCounted(item)) return { userId, actionId, outcome: item.outcome };
      // The same acceptance applied before, by a worker that died before it could answer, is no replay.
      const outcome = item.acceptedAt === job.acceptedAt ? 'completed' : item.outcome;
      return { userId, actionId, outcome, result: toResult(job, item, ranks.get(i)) };
    });

    const keys: string[] = [];
    const results: string[] = [];
    const byInstance = new Map<string, CompletionReply[]>();
    const events: CompletionEvent[] = [];
    const ended: ActionEvent[] = [];
    jobs.forEach((job, i) => {
      const reply = replies[i];
      const item = batch.items[i];
      if (!reply || !item) return;
      keys.push(
        this.#redis.names.action(job.userId, job.actionId),
        this.#redis.names.openActions(job.userId),
      );
      results.push(job.actionId, 'result' in reply ? JSON.stringify(reply.result) : '');
      const waiting = byInstance.get(job.replyTo);
      if (waiting) waiting.push(reply);
      else byInstance.set(job.replyTo, [reply]);
      if (reply.outcome === 'completed' && isCounted(item) && !told.has(nameOf(job))) {
        const reached = milestones.get(i);
        const unlocked = [...(item.unlocked ?? []), ...rankAchievements(globalEntry(reached))];
        const achievements = unlocked.map((key) => ({ key, title: achievementTitle(key) }));
        events.push({
          ...reply.result,
          type: item.type,
          ...(reached && { milestones: reached }),
          ...(achievements.length > 0 && { achievements }),
        });
      }
      // The request that waited for this one has been answered 202 by now.
      if (job.waitMs !== undefined && this.#now() - job.acceptedAt >= job.waitMs)
        ended.push({ kind: 'result', userId: job.userId, actionId: job.actionId });
    });
    const settled = this.#scripts.call(settle, keys.length, ...keys, RESULT_LIFETIME_S, ...results);
    const pipeline = this.#redis.pipeline();
    if (ended.length > 0) pipeline.publish(this.#redis.names.channels.actions, JSON.stringify(ended));
    for (const [instance, waiting] of byInstance)
      pipeline.publish(this.#redis.names.channels.replies(instance), JSON.stringify(waiting));
    if (events.length > 0) pipeline.publish(this.#redis.names.channels.completions, JSON.stringify(events));
    const [published] = await Promise.all([pipeline.exec(), settled]);
    unwrap(published);

    this.#recorder.add(
      events.map(({ actionId, rank, milestones: reached }) => [
        actionId,
        rank.previous,
        rank.current,
        globalEntry(reached) ?? null,
      ]),
    );
    return replies;
  }

  /**
   * Which of the completions another worker has applied and announced already, before it died or gave its line away: their
   * results are kept. Watchers hear of each once.
   */
  async #toldBefore({ jobs, items }: AppliedBatch): Promise<Set<string>> {
    const repeated = jobs.filter((_, i) => items[i]?.outcome === 'duplicate');
    if (repeated.length === 0) return new Set();
    const pipeline = this.#redis.pipeline();
    for (const { userId, actionId } of repeated) pipeline.get(this.#redis.names.action(userId, actionId));
    const kept = unwrap(await pipeline.exec());
    return new Set(
      repeated.flatMap((job, i) => (parseResult(kept[i] as string | null) ? [nameOf(job)] : [])),
    );
  }

  /** As `publish`, for a correction: the boards, and the API instance that waits. */
  async publishCorrection(job: CorrectionJob, applied: AppliedCorrection): Promise<void> {
    const boards = applied.boards.map(({ board, rows }) => ({ board, steps: rows.map(changeOfRow) }));
    // A score that is taken back is older than the one that Redis has.
    const changed = boards.length > 0 ? await this.#index.apply(boards, { overwrite: true }) : [];
    if (applied.relocked) await this.#milestones.forget(GLOBAL_ALL, job.userId);
    const own = boards.findIndex(
      ({ board }) => board.leaderboard === applied.leaderboard && board.period === 'all',
    );
    const name = { userId: job.userId, actionId: job.transactionId };
    const reply: CompletionReply =
      applied.outcome === 'unknown' || applied.transactionId === undefined
        ? { ...name, outcome: 'unknown' }
        : {
            ...name,
            outcome: applied.outcome,
            result: {
              actionId: job.transactionId,
              status: 'completed',
              leaderboard: applied.leaderboard ?? '',
              userId: job.userId,
              score: {
                previous: applied.previous ?? 0,
                current: applied.current ?? 0,
                delta: applied.delta ?? 0,
              },
              rank: changed[own]?.ranks[0] ?? { previous: null, current: null },
              transactionId: applied.transactionId,
              completedAt: new Date(applied.completedAt ?? 0).toISOString(),
            },
          };
    await this.#redis.publish(this.#redis.names.channels.replies(job.replyTo), JSON.stringify([reply]));
  }

  /**
   * @returns by place in the batch: the ranks of counted items on their own leaderboard, all time, and the milestones
   *   that they brought on any board
   */
  async #applyToBoards(
    jobs: readonly CompletionJob[],
    batch: AppliedBatch,
  ): Promise<{ ranks: Map<number, RankMove>; milestones: Map<number, RankMilestone[]> }> {
    const rows = new Map<string, { board: BoardRef; rows: Map<string, IndexRow> }>();
    for (const { board, rows: boardRows } of batch.boards) {
      const id = boardId(board);
      const known = rows.get(id) ?? { board, rows: new Map<string, IndexRow>() };
      for (const row of boardRows) known.rows.set(row[0], row);
      rows.set(id, known);
    }

    // On its own all-time board each completion is a step of its own, so that its answer tells its own ranks.
    const steps = new Map<string, { place: number; userId: string; item: Counted }[]>();
    const lastPlace = new Map<string, number>();
    jobs.forEach((job, place) => {
      const item = batch.items[place];
      if (!item || !isCounted(item)) return;
      lastPlace.set(job.userId, place);
      const id = boardId(boardAt(item.leaderboard, 'all', 0));
      const known = steps.get(id);
      const step = { place, userId: job.userId, item };
      if (known) known.push(step);
      else steps.set(id, [step]);
    });

    const changes: { board: BoardRef; steps: ScoreChange[]; rest: ScoreChange[]; places: number[] }[] = [];
    for (const [id, { board, rows: boardRows }] of rows) {
      const own = steps.get(id) ?? [];
      const stepping = own.filter(({ userId }) => boardRows.has(userId));
      const stepped = new Set(stepping.map(({ userId }) => userId));
      changes.push({
        board,
        steps: stepChanges(stepping, boardRows),
        rest: [...boardRows.values()].filter(([userId]) => !stepped.has(userId)).map(changeOfRow),
        places: stepping.map(({ place }) => place),
      });
    }
    const ranks = new Map<number, RankMove>();
    const milestones = new Map<number, RankMilestone[]>();
    if (changes.length === 0) return { ranks, milestones };

    const applied = await this.#index.apply(changes);
    const moves: (Step & { place: number })[] = [];
    for (const [i, { ready, ranks: boardRanks, nearTop }] of applied.entries()) {
      const change = changes[i];
      if (!change) continue;
      const { board, rest, places } = change;
      for (const [j, place] of places.entries()) {
        const userId = jobs[place]?.userId ?? '';
        const move = ready ? boardRanks[j] : await this.#rankInPostgres(board, userId);
        if (!move) continue;
        ranks.set(place, move);
        if (ready) moves.push({ board, userId, place, ...move });
      }
      if (!ready) continue;
      for (const { place: j, ...move } of nearTop) {
        const userId = rest[j]?.userId ?? '';
        const place = lastPlace.get(userId);
        if (place !== undefined) moves.push({ ...move, board, userId, place });
      }
    }
    for (const { place, board, previous, current } of await this.#milestones.firstEntries(moves)) {
      if (current === null) continue;
      const reached = milestones.get(place) ?? [];
      const { leaderboard, period } = board;
      reached.push({ leaderboard, period, rank: current, previousRank: previous });
      milestones.set(place, reached);
    }
    return { ranks, milestones };
  }

  /** While the board is being made again nobody knows the rank before; the present one is the best answer to both. */
  async #rankInPostgres(board: BoardRef, userId: string): Promise<RankMove> {
    const { standings } = await this.#table.standings(board, [userId], 0);
    const rank = standings[0]?.rank ?? null;
    return { previous: rank, current: rank };
  }
}

/**
 * The score after each of a board's completions. The last of a user is the row itself; those before it are given the
 * milliseconds before it, which are later than the user's score before the batch.
 */
function stepChanges(
  steps: readonly { userId: string; item: Counted }[],
  rows: ReadonlyMap<string, IndexRow>,
): ScoreChange[] {
  const left = new Map<string, number>();
  for (const { userId } of steps) left.set(userId, (left.get(userId) ?? 0) + 1);
  return steps.flatMap(({ userId, item }) => {
    const row = rows.get(userId);
    if (!row) return [];
    const remaining = (left.get(userId) ?? 1) - 1;
    left.set(userId, remaining);
    const last = changeOfRow(row);
    if (remaining === 0 || last.reachedAt === null) return [last];
    return [{ userId, score: item.current, reachedAt: last.reachedAt - remaining }];
  });
}

function toResult(job: CompletionJob, item: Counted, ranks: RankMove | undefined): CompletionResult {
  const [previous, current] = item.rank ?? [
    item.previous === 0 && item.delta > 0 ? null : (ranks?.previous ?? null),
    ranks?.current ?? null,
  ];
  return {
    actionId: item.actionId,
    status: 'completed',
    leaderboard: item.leaderboard,
    userId: job.userId,
    score: { previous: item.previous, current: item.current, delta: item.delta },
    rank: { previous, current },
    transactionId: item.transactionId,
    completedAt: new Date(item.completedAt).toISOString(),
  };
}

/** The rank with which a completion entered the top of the global leaderboard, all time; undefined when it did not. */
const globalEntry = (reached: CompletionEvent['milestones']): number | undefined =>
  reached?.find(({ leaderboard, period }) => leaderboard === GLOBAL_BOARD && period === 'all')?.rank;
