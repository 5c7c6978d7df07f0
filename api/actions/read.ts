import Joi from 'joi';
import { presentAction } from '../../common/action-views.ts';
import type { ActionStatus } from '../../common/actions.ts';
import { route, signedIn, type Route } from '../http/route.ts';
import * as schemas from '../http/schemas.ts';
import {
  actionIdParams,
  actionNotFound,
  actionSchema,
  callerProblems,
  status,
  type ActionDeps,
} from './parts.ts';

/** `GET /actions/:actionId` */
export function readRoute({ actions }: ActionDeps): Route {
  return route<{ actionId: string }>({
    method: 'get',
    path: '/actions/:actionId',
    operationId: 'getAction',
    tag: 'Actions',
    summary: 'Get one of my actions',
    access: 'player',
    read: true,
    params: actionIdParams,
    responses: { 200: { description: 'Its status, and its result once it has one', schema: actionSchema } },
    problems: [...callerProblems, 'ACTION_NOT_FOUND', 'RATE_LIMITED', 'UNAVAILABLE'],
    async handle(input) {
      const action = await actions.find(signedIn(input).profile.userId, input.params.actionId);
      if (!action) throw actionNotFound();
      return { status: 200, body: presentAction(action), headers: { 'Cache-Control': 'no-store' } };
    },
  });
}

/** `GET /actions` */
export function listRoute({ actions }: ActionDeps): Route {
  return route<unknown, { status?: ActionStatus; limit: number; cursor?: string }>({
    method: 'get',
    path: '/actions',
    operationId: 'listActions',
    tag: 'Actions',
    summary: 'List my actions, newest first',
    access: 'player',
    read: true,
    query: Joi.object({
      status,
      limit: Joi.number().integer().min(1).max(100).default(20),
      cursor: schemas.uuid.description('`nextCursor` of the page before'),
    }),
    responses: {
      200: {
        description: 'A page of actions',
        schema: Joi.object({
          actions: Joi.array().items(actionSchema).required(),
          nextCursor: schemas.nullable(Joi.string()).required(),
        }),
      },
    },
    problems: [...callerProblems, 'RATE_LIMITED', 'UNAVAILABLE'],
    async handle(input) {
      const { status: wanted, limit, cursor } = input.query;
      const page = await actions.list(signedIn(input).profile.userId, wanted, limit, cursor);
      const last = page.at(-1);
      return {
        status: 200,
        body: {
          actions: page.map(presentAction),
          nextCursor: page.length === limit && last ? last.id : null,
        },
        headers: { 'Cache-Control': 'no-store' },
      };
    },
  });
}
