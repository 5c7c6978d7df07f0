import Joi from 'joi';
import type { Knex } from 'knex';
import type { Database } from '../../common/postgres.ts';
import type { Logger } from '../../common/logger.ts';
import { newId } from '../../common/ids.ts';
import type { CorrectionJob } from '../../common/queues.ts';
import type { Completions } from '../actions/completions.ts';
import { Problem } from '../http/problem.ts';
import { route, signedIn, type Reply, type Route } from '../http/route.ts';
import * as schemas from '../http/schemas.ts';
import { audit } from './audit.ts';

export interface CorrectionDeps {
  readonly db: Database;
  readonly completions: Completions;
  readonly log: Logger;
}

const userParams = Joi.object({ userId: schemas.givenUserId.required() });
const reason = Joi.string().min(1).max(500);
const integer = Joi.number().integer();
const correctionSchema = Joi.object({
  transactionId: Joi.string().required(),
  userId: schemas.userId.required(),
  leaderboard: schemas.boardKey.required(),
  requested: integer.description('of an adjustment: what was asked for'),
  delta: integer.description(
    'of an adjustment: what the score really changed by; scores stay between 0 and the leaderboard’s cap',
  ),
  score: Joi.object({
    previous: integer.required(),
    current: integer.required(),
    delta: integer.required(),
  }).required(),
  completedAt: schemas.instant.required(),
}).id('Correction');
const queuedSchema = Joi.object({
  transactionId: Joi.string().required(),
  status: Joi.string().valid('queued').required(),
}).id('QueuedCorrection');
const responses = {
  200: { description: 'The score has changed', schema: correctionSchema },
  202: {
    description:
      'It is accepted, and changes the score as soon as the user’s line comes to it. The same request with the same key tells what became of it, as does GET /admin/transactions/{transactionId}.',
    schema: queuedSchema,
  },
};
const common = { tag: 'Administration', access: 'admin' as const, idempotent: 'required' as const };
/** How long an administrator waits for a correction, milliseconds. */
const WAIT_MS = 5000;

type Terms = Pick<CorrectionJob, 'userId' | 'actor' | 'reason'> &
  (
    | { readonly correction: 'adjustment'; readonly leaderboard: string; readonly delta: number }
    | { readonly correction: 'rollback'; readonly reverses: string }
  );

interface EntryRow {
  readonly id: string;
  readonly user_id: string;
  readonly leaderboard: string;
  readonly before: string;
  readonly after: string;
  readonly delta: string;
  readonly applied_at: Date;
}

/** Corrections of scores by an administrator's hand: entries of their own in the ledger, applied in the user's own line. */
export function correctionRoutes({ db, completions, log }: CorrectionDeps): Route[] {
  /** Accepts a correction: job, audit line and key stand in Postgres together, or none of them does. */
  async function accept(trx: Knex, terms: Terms): Promise<CorrectionJob> {
    const job = completions.correctionJob({ ...terms, transactionId: newId(), acceptedAt: Date.now() });
    await trx('queued_corrections').insert({
      transaction_id: job.transactionId,
      user_id: job.userId,
      payload: JSON.stringify(job),
      accepted_at: new Date(job.acceptedAt),
    });
    const { actor, userId, reason: because, correction, ...rest } = terms;
    await audit(trx, {
      actor,
      action: correction === 'adjustment' ? 'score.adjust' : 'score.rollback',
      subject: userId,
      details: { ...rest, userId, reason: because, transactionId: job.transactionId },
    });
    return job;
  }

  const entryOf = ({ transactionId, reverses }: CorrectionJob): Promise<EntryRow | undefined> =>
    db('ledger')
      .where({ id: transactionId })
      .orWhere((either) =>
        reverses === undefined ? either.whereRaw('false') : either.where({ kind: 'rollback', reverses }),
      )
      .first('id', 'user_id', 'leaderboard', 'before', 'after', 'delta', 'applied_at') as Promise<
      EntryRow | undefined
    >;

  /** Has an accepted correction applied, and tells what became of it: once it is accepted, "send it again" is never the answer. */
  async function carryOut(job: CorrectionJob): Promise<Reply> {
    const applied =
      (await entryOf(job)) ??
      (await completions.correct(job, WAIT_MS).then(
        () => entryOf(job),
        (err: unknown) => {
          // Redis is away, or the worker has refused: the sweeper enqueues it, or GET /admin/transactions tells why not.
          log.warn(
            { err, transaction: job.transactionId },
            'a correction is accepted, and waits in Postgres',
          );
          return undefined;
        },
      ));
    if (!applied) {
      return {
        status: 202,
        body: { transactionId: job.transactionId, status: 'queued' },
        headers: { Location: `/api/v1/admin/transactions/${job.transactionId}` },
        provisional: true,
      };
    }
    const delta = Number(applied.delta);
    return {
      status: 200,
      body: {
        transactionId: applied.id,
        userId: applied.user_id,
        leaderboard: applied.leaderboard,
        ...(job.delta !== undefined && { requested: job.delta, delta }),
        score: { previous: Number(applied.before), current: Number(applied.after), delta },
        completedAt: applied.applied_at.toISOString(),
      },
    };
  }

  return [
    route<{ userId: string }, unknown, { leaderboard: string; delta: number; reason: string }>({
      ...common,
      method: 'post',
      path: '/admin/users/:userId/adjustments',
      operationId: 'adjustScore',
      summary: 'Adjust a score',
      description:
        'A ledger entry of its own. The score stays between 0 and the leaderboard’s cap, and `delta` says what it really changed by; global follows. More than the cap at once is refused.',
      params: userParams,
      body: Joi.object({
        leaderboard: schemas.boardKey.required(),
        delta: integer.min(-1_000_000_000_000).max(1_000_000_000_000).invalid(0).required(),
        reason: reason.required(),
      }),
      responses,
      problems: ['USER_NOT_FOUND', 'UNKNOWN_LEADERBOARD'],
      async handle(input) {
        const { userId } = input.params;
        const { leaderboard, delta } = input.body;
        const actor = signedIn(input).profile.userId;
        const job = await input.once(async (trx) => {
          if (!(await trx('users').where({ id: userId }).whereNull('erased_at').first('id')))
            throw new Problem('USER_NOT_FOUND', 'There is no user of this id.');
          const board = (await trx('leaderboards')
            .where({ key: leaderboard })
            .whereNull('archived_at')
            .first('score_cap')) as { score_cap: string } | undefined;
          if (!board) throw new Problem('UNKNOWN_LEADERBOARD', 'There is no such leaderboard.');
          const cap = Number(board.score_cap);
          if (Math.abs(delta) > cap) {
            throw new Problem(
              'INVALID_REQUEST',
              `No score of this leaderboard can change by more than its cap, ${cap} points.`,
              { errors: [{ path: 'delta', message: `must be between ${-cap} and ${cap}` }] },
            );
          }
          return accept(trx, { ...input.body, correction: 'adjustment', userId, actor });
        });
        return carryOut(job);
      },
    }),
    route<{ transactionId: string }, unknown, { reason: string }>({
      ...common,
      method: 'post',
      path: '/admin/transactions/:transactionId/rollback',
      operationId: 'rollBackTransaction',
      summary: 'Roll back a ledger entry',
      description:
        'By an entry that compensates it. Taking it back a second time changes nothing and returns the first.',
      params: Joi.object({ transactionId: Joi.string().max(64).required() }),
      body: Joi.object({ reason: reason.required() }),
      responses,
      problems: ['NOT_FOUND'],
      async handle(input) {
        const { transactionId: reverses } = input.params;
        const actor = signedIn(input).profile.userId;
        const job = await input.once(async (trx) => {
          const entry = (await trx('ledger').where({ id: reverses }).first('user_id', 'kind')) as
            { user_id: string; kind: string } | undefined;
          if (!entry || entry.kind === 'rollback')
            throw new Problem('NOT_FOUND', 'There is no ledger entry of this id that can be rolled back.');
          return accept(trx, {
            correction: 'rollback',
            reverses,
            reason: input.body.reason,
            userId: entry.user_id,
            actor,
          });
        });
        return carryOut(job);
      },
    }),
  ];
}
