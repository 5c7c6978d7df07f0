import Joi from 'joi';
import type { ActionType } from '../../common/catalog.ts';
import { tokenHash } from '../../common/identity/action-tokens.ts';
import { Problem } from '../http/problem.ts';
import { route, signedIn, type Route } from '../http/route.ts';
import {
  actionIdParams,
  completionProblems,
  completionResponses,
  metadata,
  mustBeOpen,
  preferredWait,
  presentAnswer,
  setAll,
  type ActionDeps,
} from './parts.ts';

const tooFast = (type: ActionType | undefined, startedAt: number): void => {
  const wait = (type?.minDurationMs ?? 0) - (Date.now() - startedAt);
  if (wait > 0) {
    throw new Problem(
      'ACTION_TOO_FAST',
      `This action takes at least ${type?.minDurationMs ?? 0} ms. Complete it when it is done.`,
      {
        retryAfter: wait / 1000,
      },
    );
  }
};

/** `POST /actions/:actionId/complete` */
export function completeRoute({ completions, actionTokens, catalog, features, waitMs }: ActionDeps): Route {
  return route<{ actionId: string }, unknown, { actionToken: string; metadata?: Record<string, unknown> }>({
    method: 'post',
    path: '/actions/:actionId/complete',
    operationId: 'completeAction',
    tag: 'Actions',
    summary: 'Complete an action',
    description:
      'Counts exactly once. A replay is answered 409 with the first result. `Prefer: wait=<seconds>` or `respond-async` set how long to wait before 202.',
    access: 'player',
    sacrifice: 'completion',
    params: actionIdParams,
    body: Joi.object({ actionToken: Joi.string().required(), metadata }),
    responses: completionResponses,
    problems: [
      ...completionProblems,
      'ACTION_TOKEN_MALFORMED',
      'ACTION_TOKEN_INVALID',
      'ACTION_TOKEN_EXPIRED',
      'ACTION_TOKEN_NOT_YOURS',
      'ACTION_TOO_FAST',
      'ACTION_NOT_FOUND',
    ],
    async handle(input) {
      mustBeOpen(features);
      const { userId } = signedIn(input).profile;
      const { params, body, ip, userAgent } = input;
      const claims = actionTokens.verify(body.actionToken);
      if (claims === 'ACTION_TOKEN_MALFORMED')
        throw new Problem(
          claims,
          'The action token is not a token. Send the one that starting the action returned.',
        );
      if (
        claims === 'ACTION_TOKEN_INVALID' ||
        (claims.userId === userId && claims.actionId !== params.actionId)
      ) {
        throw new Problem('ACTION_TOKEN_INVALID', 'The action token was not signed for this action.');
      }
      if (claims.expiresAt <= Date.now())
        throw new Problem('ACTION_TOKEN_EXPIRED', 'The action token has expired. Start the action again.');
      if (claims.userId !== userId)
        throw new Problem('ACTION_TOKEN_NOT_YOURS', 'The action was started by another user.');
      tooFast(catalog.actionType(claims.type), claims.startedAt);
      const answer = await completions.complete(
        { actionId: params.actionId, userId, tokenHash: tokenHash(body.actionToken), ip, userAgent },
        preferredWait(input.header('prefer'), waitMs),
        setAll(input),
      );
      return presentAnswer(params.actionId, answer);
    },
  });
}
