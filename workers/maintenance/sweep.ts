import type { JobSignatures } from '../../common/job-signatures.ts';
import type { Database } from '../../common/postgres.ts';
import type { CompletionJob, Queues } from '../../common/queues.ts';
import { readRow, type QueuedRow, type SetAside } from '../completions/set-aside.ts';

export interface SweepDeps {
  readonly db: Database;
  readonly queues: Queues;
  readonly signatures: JobSignatures;
  readonly aside: SetAside;
  /** ends the sweep between two pages */
  readonly signal: AbortSignal;
}

/** A completion that was applied in the ordinary way is gone from the table by then. */
const SWEEP_AFTER_S = 5;
const ROWS_A_PAGE = 500;

/**
 * Puts completions back into their lines that were accepted (202) and that Redis has forgotten, or whose job has failed, oldest
 * first. Those that it holds stay where they are. A row that is of no use is set aside, and stops none of the others; so many
 * that a page cannot hold them do not keep the sweep from those behind.
 *
 * @param all those of the last seconds too, which a healthy Redis is about to apply
 * @returns how many were looked after
 */
export async function sweepQueued(deps: SweepDeps, all = false): Promise<number> {
  const { db, queues, signatures, aside, signal } = deps;
  let lookedAfter = 0;
  let after: readonly [number | null, string, string] = [null, '', ''];
  for (;;) {
    const { rows } = await db.raw<{ rows: (Omit<QueuedRow, 'acceptedAt'> & { acceptedAt: string })[] }>(
      `select action_id as "actionId", user_id as "userId", payload, epoch_ms(accepted_at) as "acceptedAt"
       from queued_completions
       where dead_at is null and enqueued_at < now() - make_interval(secs => ?)
         and (accepted_at, action_id, user_id) > (coalesce(from_epoch_ms(?), '-infinity'), ?, ?)
       order by accepted_at, action_id, user_id limit ?`,
      [all ? 0 : SWEEP_AFTER_S, ...after, ROWS_A_PAGE],
    );
    const jobs: CompletionJob[] = [];
    for (const { acceptedAt, ...row } of rows) {
      const queued = { ...row, acceptedAt: Number(acceptedAt) };
      const job = readRow(queued, signatures);
      if (typeof job === 'string') await aside.row(queued, job);
      else jobs.push(job);
      after = [queued.acceptedAt, queued.actionId, queued.userId];
    }
    if (jobs.length > 0) await queues.reviveCompletions(jobs);
    lookedAfter += rows.length;
    if (rows.length < ROWS_A_PAGE || signal.aborted) return lookedAfter;
  }
}

/** How many completions are set aside. */
export async function countDead(db: Database): Promise<number> {
  const { rows } = await db.raw<{ rows: { count: string }[] }>(
    'select count(*) as count from queued_completions where dead_at is not null',
  );
  return Number(rows[0]?.count);
}
