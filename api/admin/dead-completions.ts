import Joi from 'joi';
import type { JobSignatures } from '../../common/job-signatures.ts';
import type { Database } from '../../common/postgres.ts';
import { parsePartitionJob, type CompletionJob, type Queues } from '../../common/queues.ts';
import { Problem } from '../http/problem.ts';
import { route, signedIn, type Route } from '../http/route.ts';
import * as schemas from '../http/schemas.ts';
import { audit } from './audit.ts';

export interface DeadCompletionsDeps {
  readonly db: Database;
  readonly queues: Queues;
  readonly signatures: JobSignatures;
}

interface DeadRow {
  readonly action_id: string;
  readonly user_id: string;
  readonly username: string | null;
  readonly payload: unknown;
  readonly accepted_at: Date;
  readonly dead_at: Date;
  readonly dead_reason: string;
  readonly accepted: boolean;
}

const deadSchema = Joi.object({
  actionId: Joi.string().required(),
  userId: schemas.userId.required(),
  username: schemas.nullable(Joi.string()).required(),
  reason: Joi.string().required(),
  accepted: Joi.boolean()
    .required()
    .description('whether the API had accepted it; false for a job that only stood in Redis'),
  acceptedAt: schemas.instant.required(),
  deadAt: schemas.instant.required(),
}).id('DeadCompletion');
const queuedSchema = Joi.object({
  actionId: Joi.string().required(),
  status: Joi.string().valid('queued').required(),
});

const present = (row: DeadRow) => ({
  actionId: row.action_id,
  userId: row.user_id,
  username: row.username,
  reason: row.dead_reason,
  accepted: row.accepted,
  acceptedAt: row.accepted_at.toISOString(),
  deadAt: row.dead_at.toISOString(),
});

const common = { tag: 'Administration', access: 'admin' as const };

/** Completions that no worker could apply: what became of them, and a second try. */
export function deadCompletionRoutes({ db, queues, signatures }: DeadCompletionsDeps): Route[] {
  /** The payload anew, signed: an administrator vouches for a row that the API had accepted. @throws INVALID_REQUEST */
  function revived({ payload, action_id: actionId, user_id: userId, accepted }: DeadRow): CompletionJob {
    if (!accepted) {
      throw new Problem(
        'INVALID_REQUEST',
        'The API never accepted this completion: anybody who can write to Redis may have made it. If the player earned it, adjust the score.',
      );
    }
    try {
      const job = parsePartitionJob(payload);
      if (job.kind === 'completion' && job.actionId === actionId && job.userId === userId)
        return signatures.sign(job);
    } catch {
      // told below
    }
    throw new Problem(
      'INVALID_REQUEST',
      'This version cannot read the completion. If the player earned it, adjust the score.',
    );
  }

  return [
    route<unknown, { limit: number; cursor?: string }>({
      ...common,
      method: 'get',
      path: '/admin/dead-completions',
      operationId: 'listDeadCompletions',
      summary: 'List completions that were set aside',
      description: 'Those that no worker could apply, newest first, with the reason.',
      query: Joi.object({
        limit: Joi.number().integer().min(1).max(100).default(50),
        cursor: Joi.string()
          .pattern(/^\d{1,16}$/, 'the `nextCursor` of the page before')
          .description('`nextCursor` of the page before'),
      }),
      responses: {
        200: {
          description: 'A page of them',
          schema: Joi.object({
            completions: Joi.array().items(deadSchema).required(),
            nextCursor: schemas.nullable(Joi.string()).required(),
          }),
        },
      },
      problems: [],
      async handle(input) {
        const { limit, cursor } = input.query;
        const offset = Number(cursor ?? 0);
        const rows = await db<DeadRow>('queued_completions as q')
          .leftJoin('users as u', 'u.id', 'q.user_id')
          .whereNotNull('q.dead_at')
          .orderBy([
            { column: 'q.dead_at', order: 'desc' },
            { column: 'q.action_id', order: 'asc' },
            { column: 'q.user_id', order: 'asc' },
          ])
          .offset(offset)
          .limit(limit)
          .select<DeadRow[]>('q.*', 'u.username');
        return {
          status: 200,
          body: {
            completions: rows.map(present),
            nextCursor: rows.length === limit ? String(offset + limit) : null,
          },
          headers: { 'Cache-Control': 'private, no-store' },
        };
      },
    }),
    route<{ actionId: string }>({
      ...common,
      idempotent: 'optional',
      method: 'post',
      path: '/admin/dead-completions/:actionId/retry',
      operationId: 'retryDeadCompletion',
      summary: 'Have a completion that was set aside tried again',
      params: Joi.object({ actionId: Joi.string().max(128).required() }),
      responses: { 202: { description: 'It is in its user’s line again', schema: queuedSchema } },
      problems: ['ACTION_NOT_FOUND'],
      async handle(input) {
        const { actionId } = input.params;
        const jobs = await input.once(async (trx) => {
          const rows = await trx<DeadRow>('queued_completions')
            .where({ action_id: actionId })
            .whereNotNull('dead_at')
            .forUpdate();
          if (rows.length === 0)
            throw new Problem('ACTION_NOT_FOUND', 'No completion of this action is set aside.');
          const again = (rows as DeadRow[]).map(revived);
          for (const job of again) {
            await trx('actions')
              .where({ id: actionId, user_id: job.userId, status: 'rejected' })
              .update({ status: 'queued' });
            await trx('queued_completions')
              .where({ action_id: actionId, user_id: job.userId })
              .update({ payload: JSON.stringify(job), dead_at: null, dead_reason: null });
            await audit(trx, {
              actor: signedIn(input).profile.userId,
              action: 'completion.retry',
              subject: job.userId,
              details: { actionId },
            });
          }
          return again;
        });
        // Without Redis the sweeper puts it into the line.
        await queues.reviveCompletions(jobs).catch(() => undefined);
        return { status: 202, body: { actionId, status: 'queued' } };
      },
    }),
  ];
}
