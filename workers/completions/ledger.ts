import Joi from 'joi';
import { newId } from '../../common/ids.ts';
import { indexRowsSchema, type IndexRow } from '../../common/board/index-rows.ts';
import type { Database } from '../../common/postgres.ts';
import { completionJobSchema, type CompletionJob, type CorrectionJob } from '../../common/queues.ts';
import { check } from '../../common/validate.ts';

/** What Postgres says of one completion of a transaction. Times are ms since the epoch. */
export type AppliedItem =
  | {
      readonly actionId: string;
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
      readonly outcome: 'cancelled' | 'rejected' | 'held' | 'unknown' | 'not_yours' | 'token_mismatch';
    };

export interface AppliedBatch {
  /** what was applied, in order: the jobs given, and earlier ones of the same users that Redis had forgotten */
  readonly jobs: readonly CompletionJob[];
  readonly items: readonly AppliedItem[];
  /** absolute score rows of every board that the batch touched */
  readonly rows: readonly IndexRow[];
}

const counted = Joi.object({
  outcome: Joi.valid('completed', 'duplicate').required(),
  actionId: Joi.string().required(),
  leaderboard: Joi.string().required(),
  type: Joi.string().required(),
  transactionId: Joi.string().required(),
  previous: Joi.number().required(),
  current: Joi.number().required(),
  delta: Joi.number().required(),
  acceptedAt: Joi.number().required(),
  completedAt: Joi.number().required(),
  rank: Joi.array().items(Joi.number().allow(null)).length(2),
  unlocked: Joi.array().items(Joi.string()),
});
const refused = Joi.object({
  outcome: Joi.valid('cancelled', 'rejected', 'held', 'unknown', 'not_yours', 'token_mismatch').required(),
  actionId: Joi.string().required(),
}).unknown();
const batchSchema = Joi.object<Omit<AppliedBatch, 'jobs'> & { readonly jobs?: readonly CompletionJob[] }>({
  jobs: Joi.array().items(completionJobSchema),
  items: Joi.array().items(Joi.alternatives(counted, refused)).required(),
  rows: indexRowsSchema,
});

/** What Postgres says of a correction. */
export interface AppliedCorrection {
  readonly outcome: 'completed' | 'duplicate' | 'unknown';
  readonly transactionId?: string;
  readonly leaderboard?: string;
  readonly previous?: number;
  readonly current?: number;
  readonly delta?: number;
  readonly completedAt?: number;
  readonly rows: readonly IndexRow[];
}

const correctionSchema = Joi.object<AppliedCorrection>({
  outcome: Joi.valid('completed', 'duplicate', 'unknown').required(),
  transactionId: Joi.string(),
  leaderboard: Joi.string(),
  previous: Joi.number(),
  current: Joi.number(),
  delta: Joi.number(),
  completedAt: Joi.number(),
  rows: indexRowsSchema,
});

/** The truth: score changes in Postgres. */
export class Ledger {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Applies completions in order in one transaction and one round trip; none twice. See `apply_completions`. */
  async apply(jobs: readonly CompletionJob[]): Promise<AppliedBatch> {
    const items = jobs.map((job) => ({ ...job, transactionId: newId() }));
    const { rows } = await this.#db.raw<{ rows: { batch: unknown }[] }>(
      'select apply_completions(?::jsonb) as batch',
      [JSON.stringify(items)],
    );
    return { jobs, ...check(rows[0]?.batch, batchSchema) };
  }

  /** Applies a correction once. See `apply_correction`. */
  async correct(job: CorrectionJob): Promise<AppliedCorrection> {
    const { rows } = await this.#db.raw<{ rows: { applied: unknown }[] }>(
      'select apply_correction(?::jsonb) as applied',
      [JSON.stringify({ ...job, kind: job.correction })],
    );
    return check(rows[0]?.applied, correctionSchema);
  }

  /** A user's score rows on all open boards. */
  async rowsOf(userId: string): Promise<readonly IndexRow[]> {
    const { rows } = await this.#db.raw<{ rows: { rows: IndexRow[] }[] }>(
      `select index_rows(array[:userId]::text[], array(select id from board_periods where closed_at is null)) as rows`,
      { userId },
    );
    return check(rows[0]?.rows, indexRowsSchema);
  }

  /** Keeps the ranks that completions were answered with. */
  async recordRanks(
    ranks: readonly (readonly [string, number | null, number | null, number | null])[],
  ): Promise<void> {
    await this.#db.raw('select record_ranks(?::jsonb)', [JSON.stringify(ranks)]);
  }
}
