import Joi from 'joi';
import type { UserDirectory } from '../../common/users/user-directory.ts';
import { Problem } from '../http/problem.ts';
import { route, signedIn, type Route } from '../http/route.ts';
import * as schemas from '../http/schemas.ts';
import type { Users } from '../identity/users.ts';
import { presentUser } from './present.ts';

export function userRoutes({ directory, users }: { directory: UserDirectory; users: Users }): Route[] {
  return [
    route({
      method: 'get',
      path: '/users/me',
      operationId: 'getMe',
      tag: 'Users',
      summary: 'Oneself',
      access: 'player',
      read: true,
      responses: {
        200: {
          description: 'The signed-in user',
          schema: schemas.user.keys({ email: schemas.nullable(Joi.string()).required() }).id('Me'),
        },
      },
      problems: [
        'UNAUTHENTICATED',
        'TOKEN_EXPIRED',
        'USER_BANNED',
        'USER_NOT_FOUND',
        'RATE_LIMITED',
        'UNAVAILABLE',
      ],
      async handle(input) {
        const { profile } = signedIn(input);
        const email = await users.email(profile.userId);
        return {
          status: 200,
          body: { ...presentUser(profile), email },
          headers: { 'Cache-Control': 'no-store' },
        };
      },
    }),
    route<{ userId: string }>({
      method: 'get',
      path: '/users/:userId',
      operationId: 'getUser',
      tag: 'Users',
      summary: 'A user',
      access: 'reader',
      read: true,
      params: Joi.object({ userId: schemas.userId.max(128).required() }),
      responses: { 200: { description: 'The user', schema: schemas.user } },
      problems: [
        'INVALID_REQUEST',
        'UNAUTHENTICATED',
        'TOKEN_EXPIRED',
        'USER_NOT_FOUND',
        'RATE_LIMITED',
        'UNAVAILABLE',
      ],
      async handle({ params }) {
        const profile = await directory.find(params.userId);
        if (!profile || profile.erased) throw new Problem('USER_NOT_FOUND', 'There is no user of this id.');
        return { status: 200, body: presentUser(profile) };
      },
    }),
  ];
}
