import Joi from 'joi';
import { GLOBAL_BOARD } from '../../common/board/board.ts';
import { tokenHash } from '../../common/identity/action-tokens.ts';
import { newId } from '../../common/ids.ts';
import { unavailable } from '../http/problem.ts';
import { route, signedIn, type Route } from '../http/route.ts';
import * as schemas from '../http/schemas.ts';
import {
  actionType,
  callerProblems,
  metadata,
  mustBeOpen,
  setAll,
  statusUrl,
  type ActionDeps,
} from './parts.ts';
import { priceOf } from './pricing.ts';

const startedSchema = Joi.object({
  actionId: Joi.string().required(),
  type: Joi.string().required(),
  leaderboard: schemas.boardKey.required(),
  status: Joi.string().valid('started').required(),
  points: Joi.number().integer().min(0).required(),
  actionToken: Joi.string().required(),
  startedAt: schemas.instant.required(),
  expiresAt: schemas.instant.required(),
}).id('StartedAction');

/** `POST /actions` */
export function startRoute({
  actions,
  admission,
  actionTokens,
  announcer,
  catalog,
  features,
  tokenTtlSeconds,
}: ActionDeps): Route {
  return route<unknown, unknown, { type: string; leaderboard: string; metadata?: Record<string, unknown> }>({
    method: 'post',
    path: '/actions',
    operationId: 'startAction',
    tag: 'Actions',
    summary: 'Start an action',
    description: 'The server fixes what it is worth, and signs a single-use token for completing it.',
    access: 'player',
    sacrifice: 'start',
    body: Joi.object({
      type: actionType,
      leaderboard: schemas.boardKey.min(1).default(GLOBAL_BOARD),
      metadata,
    }),
    responses: { 201: { description: 'Started', schema: startedSchema, headers: ['Location'] } },
    problems: [
      ...callerProblems,
      'UNKNOWN_ACTION_TYPE',
      'UNKNOWN_LEADERBOARD',
      'LEADERBOARD_CLOSED',
      'RATE_LIMITED',
      'TOO_MANY_OPEN_ACTIONS',
      'UNAVAILABLE',
    ],
    async handle(input) {
      mustBeOpen(features);
      const { identity, profile } = signedIn(input);
      const { userId } = profile;
      const { body, ip, userAgent } = input;
      const { type, leaderboard, points, difficulty } = priceOf(
        catalog,
        body.type,
        body.leaderboard,
        body.metadata?.['difficulty'],
        identity,
      );
      const actionId = newId();
      const ttlMs = tokenTtlSeconds * 1000;
      const admitted = await admission.admit({
        kind: 'start',
        ip,
        userId,
        actionId,
        holdMs: ttlMs,
        terms: { leaderboard: leaderboard.key, opensAt: leaderboard.opensAt, closesAt: leaderboard.closesAt },
      });
      if (!admitted.admitted) throw new Error('a start was taken for a replay');
      setAll(input)(admitted.headers);
      // Redis's clock stamps the start, as it stamps the completion: clocks of processes may differ.
      const startedAt = admitted.at;
      // A token's life is counted in whole seconds.
      const expiresAt = Math.floor((startedAt + ttlMs) / 1000) * 1000;
      const terms = { type: type.key, leaderboard: leaderboard.key, points, startedAt, expiresAt };
      const actionToken = actionTokens.sign({
        actionId,
        userId,
        ...terms,
        ...(difficulty !== null && { difficulty }),
      });
      try {
        await actions.start({
          id: actionId,
          userId,
          ...terms,
          difficulty,
          metadata: body.metadata ?? null,
          tokenHash: tokenHash(actionToken),
          ip,
          userAgent,
        });
      } catch (error) {
        await admission.closeAction(userId, actionId).catch(() => undefined);
        throw unavailable('The action cannot be written down right now.', error);
      }
      announcer.announce({
        kind: 'action',
        userId,
        actionId,
        type: type.key,
        leaderboard: leaderboard.key,
        status: 'started',
        at: startedAt,
      });
      return {
        status: 201,
        headers: { Location: statusUrl(actionId), 'Cache-Control': 'no-store' },
        body: {
          actionId,
          type: type.key,
          leaderboard: leaderboard.key,
          status: 'started',
          points,
          actionToken,
          startedAt: schemas.iso(startedAt),
          expiresAt: schemas.iso(expiresAt),
        },
      };
    },
  });
}
