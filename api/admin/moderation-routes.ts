import Joi from 'joi';
import type { Catalog } from '../../common/catalog.ts';
import { newId, userIdPattern } from '../../common/ids.ts';
import type { Database } from '../../common/postgres.ts';
import type { UserDirectory } from '../../common/users/user-directory.ts';
import type { Completions } from '../actions/completions.ts';
import { Problem, unavailable } from '../http/problem.ts';
import { route, signedIn, type Reply, type Route } from '../http/route.ts';
import * as schemas from '../http/schemas.ts';
import { audit } from './audit.ts';

export interface ModerationDeps {
  readonly db: Database;
  readonly directory: UserDirectory;
  readonly catalog: Catalog;
  readonly completions: Completions;
}

const userParams = Joi.object({ userId: Joi.string().pattern(userIdPattern).required() });
const reason = Joi.string().min(1).max(500);
const banSchema = Joi.object({
  userId: schemas.userId.required(),
  banned: Joi.boolean().required(),
  reason: schemas.nullable(Joi.string()).required(),
});
const correctionSchema = Joi.object({
  transactionId: Joi.string().required(),
  userId: schemas.userId.required(),
  leaderboard: schemas.boardKey.required(),
  score: Joi.object({
    previous: Joi.number().integer().required(),
    current: Joi.number().integer().required(),
    delta: Joi.number().integer().required(),
  }).required(),
  completedAt: schemas.instant.required(),
});
const queuedSchema = Joi.object({
  transactionId: Joi.string().required(),
  status: Joi.string().valid('queued').required(),
});
const correctionResponses = {
  200: { description: 'The score has changed', schema: correctionSchema },
  202: { description: 'It will change as soon as the user’s line comes to it', schema: queuedSchema },
};
const common = { tag: 'Administration', access: 'admin' as const };
/** How long an administrator waits for a correction, milliseconds. */
const WAIT_MS = 5000;

/** Bans, and corrections of scores: an administrator's hand in play. Each is written down. */
export function moderationRoutes({ db, directory, catalog, completions }: ModerationDeps): Route[] {
  async function setBan(userId: string, actor: string, because: string | null): Promise<Reply> {
    await db.transaction(async (trx) => {
      const changed = await trx('users')
        .where({ id: userId })
        .whereNull('erased_at')
        .update({
          banned_at: because === null ? null : new Date(),
          ban_reason: because,
          updated_at: new Date(),
        });
      if (changed === 0) throw new Problem('USER_NOT_FOUND', 'There is no user of this id.');
      await audit(trx, {
        actor,
        action: because === null ? 'user.unban' : 'user.ban',
        subject: userId,
        details: { reason: because },
      });
    });
    await directory.changed(userId);
    return { status: 200, body: { userId, banned: because !== null, reason: because } };
  }

  async function correct(
    terms: { userId: string; actor: string; reason: string } & (
      { leaderboard: string; delta: number } | { reverses: string }
    ),
  ): Promise<Reply> {
    const transactionId = newId();
    const answer = await completions
      .correct(
        {
          ...terms,
          transactionId,
          correction: 'delta' in terms ? 'adjustment' : 'rollback',
          acceptedAt: Date.now(),
        },
        WAIT_MS,
      )
      .catch((error: unknown) => {
        throw error instanceof Problem
          ? error
          : unavailable('The correction cannot be queued right now.', error);
      });
    const { actor, reason: because, ...rest } = terms;
    await audit(db, {
      actor,
      action: 'delta' in terms ? 'score.adjust' : 'score.rollback',
      subject: terms.userId,
      details: { ...rest, reason: because, transactionId },
    });
    if (!('result' in answer)) return { status: 202, body: { transactionId, status: 'queued' } };
    const { result } = answer;
    return {
      status: 200,
      body: {
        transactionId: result.transactionId,
        userId: result.userId,
        leaderboard: result.leaderboard,
        score: result.score,
        completedAt: result.completedAt,
      },
    };
  }

  return [
    route<{ userId: string }, unknown, { reason: string }>({
      ...common,
      method: 'post',
      path: '/admin/users/:userId/ban',
      operationId: 'banUser',
      summary: 'Ban a user',
      description:
        'At once and everywhere: requests are refused, sockets are closed, and the user is on no board.',
      params: userParams,
      body: Joi.object({ reason: reason.required() }),
      responses: { 200: { description: 'Banned', schema: banSchema } },
      problems: ['USER_NOT_FOUND'],
      handle: (input) => setBan(input.params.userId, signedIn(input).profile.userId, input.body.reason),
    }),
    route<{ userId: string }>({
      ...common,
      method: 'delete',
      path: '/admin/users/:userId/ban',
      operationId: 'unbanUser',
      summary: 'Lift a ban',
      description: 'The user returns to the boards with the scores earned before.',
      params: userParams,
      responses: { 200: { description: 'No longer banned', schema: banSchema } },
      problems: ['USER_NOT_FOUND'],
      handle: (input) => setBan(input.params.userId, signedIn(input).profile.userId, null),
    }),
    route<{ userId: string }, unknown, { leaderboard: string; delta: number; reason: string }>({
      ...common,
      method: 'post',
      path: '/admin/users/:userId/adjustments',
      operationId: 'adjustScore',
      summary: 'Adjust a score',
      description:
        'A ledger entry of its own. The score stays between 0 and the leaderboard’s cap; global follows.',
      params: userParams,
      body: Joi.object({
        leaderboard: schemas.boardKey.required(),
        delta: Joi.number().integer().min(-1_000_000_000_000).max(1_000_000_000_000).invalid(0).required(),
        reason: reason.required(),
      }),
      responses: correctionResponses,
      problems: ['USER_NOT_FOUND', 'UNKNOWN_LEADERBOARD'],
      async handle(input) {
        const { params, body } = input;
        if (!(await directory.find(params.userId)))
          throw new Problem('USER_NOT_FOUND', 'There is no user of this id.');
        if (!catalog.leaderboard(body.leaderboard))
          throw new Problem('UNKNOWN_LEADERBOARD', 'There is no such leaderboard.');
        return correct({ ...body, userId: params.userId, actor: signedIn(input).profile.userId });
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
      responses: correctionResponses,
      problems: ['NOT_FOUND'],
      async handle(input) {
        const { transactionId } = input.params;
        const entry = await db<{ id: string; user_id: string; kind: string }>('ledger')
          .where({ id: transactionId })
          .first('user_id', 'kind');
        if (!entry || entry.kind === 'rollback') {
          throw new Problem('NOT_FOUND', 'There is no ledger entry of this id that can be rolled back.');
        }
        return correct({
          reverses: transactionId,
          reason: input.body.reason,
          userId: entry.user_id,
          actor: signedIn(input).profile.userId,
        });
      },
    }),
  ];
}
