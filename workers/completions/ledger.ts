import Joi from 'joi';
import { nameOf } from '../../common/actions.ts';
import { newId } from '../../common/ids.ts';
import type { JobSignatures } from '../../common/job-signatures.ts';
import { parseIndexRows, type IndexedBoard } from '../../common/board/index-rows.ts';
import type { Refusal } from '../../common/events.ts';
import { isDataFault, isTransient, type Database } from '../../common/postgres.ts';
import type { CompletionJob, CorrectionJob } from '../../common/queues.ts';
import { check, hasTexts } from '../../common/validate.ts';
import { readRow, type QueuedRow, type SetAside } from './set-aside.ts';

/** What Postgres says of one completion of a transaction. Times are ms since the epoch. */
export type AppliedItem =
  | {
      readonly actionId: string;
      readonly userId: string;
      readonly outcome: 'completed' | 'duplicate';
      readonly leaderboard: string;
      readonly type: string;
      readonly transactionId: string;
      readonly previous: number;
      readonly current: number;
      readonly delta: number;
      readonly acceptedAt: number;
      readonly completedAt: number;
      /** the ranks of the first answer, when they are kept already */
      readonly rank?: readonly [number | null, number | null];
      /** keys of the achievements that it unlocked */
      readonly unlocked?: readonly string[];
    }
  | {
      readonly actionId: string;
      readonly userId: string;
      readonly outcome: Refusal;
    };

export interface AppliedBatch {
  /** what was applied, in order: the jobs given, and earlier ones of the same users that Redis had forgotten */
  readonly jobs: readonly CompletionJob[];
  readonly items: readonly AppliedItem[];
  /** absolute score rows of every board that the batch touched; a board may come twice, the later rows being newer */
  readonly boards: readonly IndexedBoard[];
}

const refusals: ReadonlySet<unknown> = new Set<Refusal>([
  'cancelled',
  'closed',
  'rejected',
  'held',
  'unknown',
  'not_yours',
  'token_mismatch',
]);
const isRank = (rank: unknown): boolean => rank === null || typeof rank === 'number';

/** By hand, as a schema would cost a tenth of a worker's time. */
function isItem(value: unknown): value is AppliedItem {
  if (!hasTexts(value, 'actionId', 'userId')) return false;
  if (refusals.has(value['outcome'])) return true;
  const { outcome, rank, unlocked } = value;
  return (
    (outcome === 'completed' || outcome === 'duplicate') &&
    hasTexts(value, 'leaderboard', 'type', 'transactionId') &&
    ['previous', 'current', 'delta', 'acceptedAt', 'completedAt'].every(
      (key) => typeof value[key] === 'number',
    ) &&
    (rank === undefined || (Array.isArray(rank) && rank.length === 2 && rank.every(isRank))) &&
    (unlocked === undefined || (Array.isArray(unlocked) && unlocked.every((key) => typeof key === 'string')))
  );
}

/** Checks what `apply_completions` returned for some jobs. @throws when it is anything else */
function parseBatch(answer: Record<string, unknown>, jobs: readonly CompletionJob[]): AppliedBatch {
  const { completed, others, rows, unchanged, order } = answer;
  const found = new Map<string, AppliedItem>();
  for (const item of [...listOf(completed), ...listOf(others)]) {
    if (!isItem(item)) throw otherForm();
    found.set(nameOf(item), item);
  }
  const applied =
    order === null
      ? jobs
      : listOf(order).map((place) => {
          const job = jobs[place as number];
          if (!job) throw otherForm();
          return job;
        });
  const items = applied.map((job) => {
    const item = found.get(nameOf(job));
    if (!item) throw new Error('Postgres answered for other completions than were asked');
    return item;
  });
  return { jobs: applied, items, boards: [rows, unchanged].flatMap((some) => parseIndexRows(some ?? [])) };
}

function listOf(value: unknown): readonly unknown[] {
  if (value === null) return [];
  if (Array.isArray(value)) return value;
  throw otherForm();
}

const otherForm = (): Error =>
  new Error('Postgres answered in another form than this version reads. Migrate, and use one version.');

/** What Postgres says of a correction. */
export interface AppliedCorrection {
  readonly outcome: 'completed' | 'duplicate' | 'unknown';
  readonly transactionId?: string;
  readonly leaderboard?: string;
  readonly previous?: number;
  readonly current?: number;
  readonly delta?: number;
  readonly completedAt?: number;
  /** whether achievements were taken back, so that they can be unlocked again */
  readonly relocked?: boolean;
  readonly boards: readonly IndexedBoard[];
}

const correctionSchema = Joi.object<Omit<AppliedCorrection, 'boards'> & { readonly rows: unknown }>({
  outcome: Joi.valid('completed', 'duplicate', 'unknown').required(),
  transactionId: Joi.string(),
  leaderboard: Joi.string(),
  previous: Joi.number(),
  current: Joi.number(),
  delta: Joi.number(),
  completedAt: Joi.number(),
  relocked: Joi.boolean(),
  rows: Joi.array().required(),
});

/** What a batch of several transactions comes to, in their order. */
const together = (batches: readonly AppliedBatch[]): AppliedBatch => ({
  jobs: batches.flatMap(({ jobs }) => jobs),
  items: batches.flatMap(({ items }) => items),
  boards: batches.flatMap(({ boards }) => boards),
});

/** What reads completions that were promised, and takes those that cannot be applied. */
interface Promises {
  readonly signatures: JobSignatures;
  readonly aside: SetAside;
}

/** The truth: score changes in Postgres. */
export class Ledger {
  readonly #db: Database;
  readonly #promises: Promises | undefined;

  /** @param promises reads what was promised earlier (202); who has none of them, as a test of one transaction, needs none */
  constructor(db: Database, promises?: Promises) {
    this.#db = db;
    this.#promises = promises;
  }

  /**
   * Applies completions in order in one transaction and one round trip; none twice. See `apply_completions`. What the same users
   * were promised earlier (202), and Redis has forgotten since, is applied before them; their form is checked before Postgres
   * decides anything, and one that cannot be applied is set aside.
   *
   * @throws when the completions given cannot be applied
   */
  async apply(jobs: readonly CompletionJob[]): Promise<AppliedBatch> {
    const earlier: CompletionJob[] = [];
    for (;;) {
      const all = [...earlier, ...jobs];
      let answer: Record<string, unknown>;
      try {
        answer = await this.#call(all);
      } catch (error) {
        if (earlier.length === 0 || isTransient(error)) throw error;
        return this.#applyApart(earlier, jobs);
      }
      if (answer['forgotten'] === undefined) return parseBatch(answer, all);
      for (const row of listOf(answer['forgotten']) as readonly QueuedRow[]) {
        const job = readRow(row, this.#required.signatures);
        if (typeof job === 'string') await this.#required.aside.row(row, job);
        else earlier.push(job);
      }
    }
  }

  get #required(): Promises {
    if (!this.#promises) throw new Error('a ledger without promises met one that Redis had forgotten');
    return this.#promises;
  }

  async #call(jobs: readonly CompletionJob[]): Promise<Record<string, unknown>> {
    const items = jobs.map((job) => ({ ...job, transactionId: newId() }));
    const { rows } = await this.#db.raw<{ rows: { batch: Record<string, unknown> | null }[] }>(
      'select apply_completions(?::jsonb) as batch',
      [JSON.stringify(items)],
    );
    return rows[0]?.batch ?? {};
  }

  /** One of the earlier ones, or of those given, breaks the transaction: the earlier ones are judged one by one. */
  async #applyApart(
    earlier: readonly CompletionJob[],
    jobs: readonly CompletionJob[],
  ): Promise<AppliedBatch> {
    const batches: AppliedBatch[] = [];
    for (const job of earlier) {
      try {
        batches.push(await this.apply([job]));
      } catch (error) {
        if (!isDataFault(error)) throw error;
        await this.#required.aside.job(job, error);
      }
    }
    batches.push(await this.apply(jobs));
    return together(batches);
  }

  /** Applies a correction once, and takes it off those that wait. See `apply_correction`. */
  async correct(job: CorrectionJob): Promise<AppliedCorrection> {
    return this.#db.transaction(async (trx) => {
      const { rows } = await trx.raw<{ rows: { applied: unknown }[] }>(
        'select apply_correction(?::jsonb) as applied',
        [JSON.stringify({ ...job, kind: job.correction })],
      );
      const { rows: boards, ...applied } = check(rows[0]?.applied, correctionSchema);
      const waiting = trx('queued_corrections').where({ transaction_id: job.transactionId });
      await (applied.outcome === 'unknown'
        ? waiting.update({ dead_at: trx.fn.now(), dead_reason: 'there is no such entry or leaderboard' })
        : waiting.delete());
      return { ...applied, boards: parseIndexRows(boards) };
    });
  }

  /** A user's score rows on all boards that Redis holds: those that are open, and those whose time is not over. */
  async rowsOf(userId: string): Promise<readonly IndexedBoard[]> {
    const { rows } = await this.#db.raw<{ rows: { rows: unknown }[] }>(
      `select index_rows(array[:userId]::text[], array(
         select id from board_periods where closed_at is null or ends_at is null or ends_at > now())) as rows`,
      { userId },
    );
    return parseIndexRows(rows[0]?.rows);
  }

  /** Keeps the ranks that completions were answered with. */
  async recordRanks(
    ranks: readonly (readonly [string, number | null, number | null, number | null])[],
  ): Promise<void> {
    await this.#db.raw('select record_ranks(?::jsonb)', [JSON.stringify(ranks)]);
  }
}
