import Joi from 'joi';
import { route, type Route } from '../http/route.ts';
import { mayView } from '../../common/board/visibility.ts';
import * as schemas from '../http/schemas.ts';
import type { ActionDeps } from './parts.ts';

const points = Joi.number().integer().min(0);
const typeSchema = Joi.object({
  key: Joi.string().required(),
  title: Joi.string().required(),
  points: points.required(),
  difficulties: Joi.object().pattern(Joi.string(), points).required().description('difficulty -> points'),
  minDurationMs: Joi.number().integer().min(0).required(),
  leaderboards: schemas
    .nullable(Joi.array().items(schemas.boardKey))
    .required()
    .description('where it may be played; null = on every leaderboard'),
  clientSigned: Joi.boolean().required().description('whether games may complete it by their own signature'),
}).id('ActionType');

/** `GET /action-types` */
export function actionTypesRoute({ catalog }: ActionDeps): Route {
  return route({
    method: 'get',
    path: '/action-types',
    operationId: 'listActionTypes',
    tag: 'Actions',
    summary: 'List what can be played',
    description:
      'With prices. A leaderboard may pay less: an award is clipped at its points an update, and starting an action tells what it is worth there.',
    access: 'reader',
    read: true,
    responses: {
      200: {
        description: 'Every action type',
        schema: Joi.object({ actionTypes: Joi.array().items(typeSchema).required() }),
      },
    },
    problems: ['UNAUTHENTICATED', 'TOKEN_EXPIRED', 'RATE_LIMITED'],
    handle: ({ caller }) => {
      const isVisible = (key: string): boolean => {
        const board = catalog.leaderboard(key);
        return board !== undefined && mayView(board, caller?.identity);
      };
      const actionTypes = catalog.actionTypes.map((type) => ({
        key: type.key,
        title: type.title,
        points: type.points,
        difficulties: Object.fromEntries(
          Object.entries(type.difficulties).map(([name, multiplier]) => [
            name,
            Math.round(type.points * multiplier),
          ]),
        ),
        minDurationMs: type.minDurationMs,
        leaderboards: type.leaderboards?.filter(isVisible) ?? null,
        clientSigned: type.clientSigned,
      }));
      return Promise.resolve({
        status: 200,
        body: { actionTypes },
        headers: { 'Cache-Control': caller ? 'private, no-store' : 'public, max-age=5' },
      });
    },
  });
}
