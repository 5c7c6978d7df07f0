import Joi from 'joi';
import type { AdmissionControl } from '../admission/admission.ts';
import { Problem } from '../http/problem.ts';
import { route, signedIn, type Route } from '../http/route.ts';
import * as schemas from '../http/schemas.ts';
import { noStore } from './schemas.ts';
import type { Sessions } from './sessions.ts';

const session = Joi.object({
  id: Joi.string().required(),
  createdAt: schemas.instant.required(),
  lastUsedAt: schemas.instant.description('its last refresh').required(),
  expiresAt: schemas.instant.required(),
  userAgent: schemas.nullable(Joi.string()).required(),
  current: Joi.boolean().description('whether the token of this request belongs to it').required(),
}).id('Session');

const problems = ['INVALID_REQUEST', 'UNAUTHENTICATED', 'RATE_LIMITED', 'UNAVAILABLE'] as const;

/** The logins of the current user. */
export function sessionRoutes(deps: { sessions: Sessions; admission: AdmissionControl }): Route[] {
  const { sessions, admission } = deps;
  return [
    route({
      method: 'get',
      path: '/auth/sessions',
      operationId: 'listSessions',
      tag: 'Identity',
      summary: 'List my logins',
      access: 'player',
      openLogin: true,
      read: true,
      responses: {
        200: {
          description: 'Logins that have not ended, newest first',
          schema: Joi.object({ sessions: Joi.array().items(session).required() }).id('Sessions'),
        },
      },
      problems,
      async handle(input) {
        const { profile, identity } = signedIn(input);
        const known = await sessions.list(profile.userId);
        return {
          status: 200,
          headers: noStore,
          body: {
            sessions: known.map((one) => ({
              id: one.id,
              createdAt: one.createdAt.toISOString(),
              lastUsedAt: one.lastUsedAt.toISOString(),
              expiresAt: one.expiresAt.toISOString(),
              userAgent: one.userAgent,
              current: one.id === identity.sessionId,
            })),
          },
        };
      },
    }),
    route({
      method: 'delete',
      path: '/auth/sessions',
      operationId: 'endOtherSessions',
      tag: 'Identity',
      summary: 'End all my other logins',
      description:
        'Their refresh tokens and signing keys end at once, their access tokens within the hour. A change of password ends those at once, too.',
      access: 'player',
      openLogin: true,
      responses: { 204: { description: 'Ended' } },
      problems,
      async handle(input) {
        const { profile, identity } = signedIn(input);
        await admission.admit({ kind: 'write', ip: input.ip, userId: profile.userId });
        await sessions.endOthers(profile.userId, identity.sessionId);
        return { status: 204 };
      },
    }),
    route<{ sessionId: string }>({
      method: 'delete',
      path: '/auth/sessions/:sessionId',
      operationId: 'endSession',
      tag: 'Identity',
      summary: 'End one of my logins',
      description: 'Its refresh tokens and signing key end at once, its access tokens within the hour.',
      access: 'player',
      openLogin: true,
      params: Joi.object({ sessionId: Joi.string().max(64).required() }),
      responses: { 204: { description: 'Ended' } },
      problems: [...problems, 'NOT_FOUND'],
      async handle(input) {
        const { userId } = signedIn(input).profile;
        await admission.admit({ kind: 'write', ip: input.ip, userId });
        if (!(await sessions.end(userId, input.params.sessionId)))
          throw new Problem('NOT_FOUND', 'You have no login of this id, or it has ended.');
        return { status: 204 };
      },
    }),
  ];
}
