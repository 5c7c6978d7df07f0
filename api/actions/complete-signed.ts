import Joi from 'joi';
import { GLOBAL_BOARD } from '../../common/board/board.ts';
import { Problem, unavailable } from '../http/problem.ts';
import { route, signedIn, type Route } from '../http/route.ts';
import * as schemas from '../http/schemas.ts';
import {
  actionType,
  completionProblems,
  completionResponses,
  mustBeOpen,
  preferredWait,
  presentAnswer,
  setAll,
  type ActionDeps,
} from './parts.ts';
import { priceOf } from './pricing.ts';

const TIMESTAMP_TOLERANCE_MS = 300_000;

/** What a timestamp says, ms since the epoch. Without a zone it is UTC, wherever the server stands; NaN when it is none. */
const instantOf = (timestamp: string): number =>
  Date.parse(
    /[T ]/i.test(timestamp) && !/(?:Z|[+-]\d{2}:?\d{2})$/i.test(timestamp) ? `${timestamp}Z` : timestamp,
  );

/** `POST /completions` */
export function completeSignedRoute({
  actions,
  completions,
  sessions,
  catalog,
  clock,
  features,
  waitMs,
}: ActionDeps): Route {
  return route<
    unknown,
    unknown,
    { actionId: string; type: string; leaderboard?: string; timestamp: string; signature: string }
  >({
    method: 'post',
    path: '/completions',
    operationId: 'completeSigned',
    tag: 'Actions',
    summary: 'Complete an action, signed by the client',
    description:
      'For games that cannot call home first, and action types for which an administrator allows it (`clientSigned`). At least `minDurationMs` lie between two of a type. `signature` is the hex HMAC-SHA256, with the login’s `signingKey` as UTF-8 text, of actionId.type.leaderboard.timestamp joined by full stops.',
    access: 'player',
    sacrifice: 'signed_completion',
    body: Joi.object({
      actionId: schemas.uuid.required(),
      type: actionType,
      leaderboard: schemas.boardKey.min(1),
      timestamp: Joi.string().isoDate().max(40).required(),
      signature: Joi.string().hex().length(64).required(),
    }),
    responses: completionResponses,
    problems: [
      ...completionProblems,
      'UNKNOWN_ACTION_TYPE',
      'UNKNOWN_LEADERBOARD',
      'CLIENT_SIGNING_OFF',
      'SIGNATURE_INVALID',
      'TOO_MANY_OPEN_ACTIONS',
      'TIMESTAMP_OUT_OF_RANGE',
      'ACTION_ID_TAKEN',
    ],
    async handle(input) {
      mustBeOpen(features);
      const { identity, profile } = signedIn(input);
      const { body, ip, userAgent } = input;
      const board = body.leaderboard ?? GLOBAL_BOARD;
      const { type, leaderboard, points, difficulty } = priceOf(
        catalog,
        body.type,
        board,
        undefined,
        identity,
      );
      if (!type.clientSigned) {
        throw new Problem(
          'CLIENT_SIGNING_OFF',
          'The game may not sign completions of this action type. Start it with POST /actions; an administrator can allow it for the type (`clientSigned`).',
        );
      }
      const text = [body.actionId, body.type, board, body.timestamp].join('.');
      let genuine: boolean;
      try {
        genuine = await sessions.verifySignature(profile.userId, identity.sessionId, text, body.signature);
      } catch (error) {
        throw unavailable('The signature cannot be checked right now.', error);
      }
      if (!genuine)
        throw new Problem(
          'SIGNATURE_INVALID',
          'The signature was not made with the signing key of this login.',
        );
      if (!(Math.abs(clock.now() - instantOf(body.timestamp)) <= TIMESTAMP_TOLERANCE_MS)) {
        throw new Problem(
          'TIMESTAMP_OUT_OF_RANGE',
          'The timestamp must be within 5 minutes of the server’s time.',
        );
      }
      const actionId = body.actionId.toLowerCase();
      // Refused before it is queued: a job of this id would stand in the way of the action's own completion.
      const { minDurationMs } = type;
      const before = await actions.beforeSigned(profile.userId, actionId, type.key, minDurationMs);
      if (before.taken) throw new Problem('ACTION_ID_TAKEN', 'Another action has this id. Use a new one.');
      const answer = await completions.complete(
        {
          actionId,
          userId: profile.userId,
          tokenHash: null,
          ip,
          userAgent,
          client: {
            type: type.key,
            leaderboard: leaderboard.key,
            points,
            ...(difficulty !== null && { difficulty }),
          },
        },
        {
          leaderboard: leaderboard.key,
          opensAt: leaderboard.opensAt,
          closesAt: leaderboard.closesAt,
          spacing: { type: type.key, ms: minDurationMs, lastAt: before.lastAt },
        },
        preferredWait(input.header('prefer'), waitMs),
        setAll(input),
      );
      return presentAnswer(actionId, answer);
    },
  });
}
