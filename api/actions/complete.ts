import Joi from 'joi';
import { mayView } from '../../common/board/visibility.ts';
import { tokenHash } from '../../common/identity/action-tokens.ts';
import { tokenExpired } from '../admission/admission.ts';
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

/** `POST /actions/:actionId/complete` */
export function completeRoute({
  completions,
  actionTokens,
  catalog,
  clock,
  features,
  waitMs,
}: ActionDeps): Route {
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
      'ACTION_NOT_FOUND',
      'UNKNOWN_LEADERBOARD',
    ],
    async handle(input) {
      mustBeOpen(features);
      const { identity, profile } = signedIn(input);
      const { userId } = profile;
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
      if (claims.userId !== userId) {
        if (claims.expiresAt <= clock.now()) throw tokenExpired();
        throw new Problem('ACTION_TOKEN_NOT_YOURS', 'The action was started by another user.');
      }
      const board = catalog.leaderboard(claims.leaderboard);
      // One that is not known here may be newer than what this process has read.
      if (board && !mayView(board, identity))
        throw new Problem(
          'UNKNOWN_LEADERBOARD',
          `There is no leaderboard ${JSON.stringify(claims.leaderboard)} any more. Your action does not count. GET /leaderboards lists them.`,
        );
      const minDurationMs = catalog.actionType(claims.type)?.minDurationMs ?? 0;
      const answer = await completions.complete(
        {
          actionId: params.actionId,
          userId,
          tokenHash: tokenHash(body.actionToken),
          ip,
          userAgent,
          ...(body.metadata && { metadata: JSON.stringify(body.metadata) }),
        },
        {
          leaderboard: claims.leaderboard,
          opensAt: null,
          closesAt: board?.closesAt ?? null,
          expiresAt: claims.expiresAt,
          ...(minDurationMs > 0 && { earliest: claims.startedAt + minDurationMs }),
        },
        preferredWait(input.header('prefer'), waitMs),
        setAll(input),
      );
      return presentAnswer(params.actionId, answer);
    },
  });
}
