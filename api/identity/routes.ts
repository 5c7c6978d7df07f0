import Joi from 'joi';
import type { UserProfile } from '../../common/users/user-directory.ts';
import type { AdmissionControl } from '../admission/admission.ts';
import { route, type Route } from '../http/route.ts';
import * as schemas from '../http/schemas.ts';
import { presentUser } from '../users/present.ts';
import { givenPassword, grant, noStore, password, presentGrant } from './schemas.ts';
import type { Sessions } from './sessions.ts';
import type { SignIn } from './sign-in.ts';
import type { Users } from './users.ts';

export interface IdentityDeps {
  readonly users: Users;
  readonly sessions: Sessions;
  readonly signIn: SignIn;
  readonly admission: AdmissionControl;
  /** what is accepted as a user name */
  readonly usernames: Joi.StringSchema;
}

const refreshToken = Joi.string().max(200).required();

export function identityRoutes({ users, sessions, signIn, admission, usernames }: IdentityDeps): Route[] {
  return [
    route<unknown, unknown, { username: string; email: string; password: string }>({
      method: 'post',
      path: '/auth/register',
      operationId: 'register',
      tag: 'Identity',
      summary: 'Create an account',
      access: 'anyone',
      body: Joi.object({
        username: usernames.required(),
        email: Joi.string().email({ tlds: false }).max(254).required(),
        password: password.required(),
      }),
      responses: {
        201: { description: 'The account', schema: Joi.object({ user: schemas.user.required() }) },
      },
      problems: ['INVALID_REQUEST', 'USERNAME_TAKEN', 'EMAIL_TAKEN', 'RATE_LIMITED', 'UNAVAILABLE'],
      async handle({ body, ip, setHeader }) {
        const admitted = await admission.admit({ kind: 'register', ip });
        if (admitted.admitted)
          Object.entries(admitted.headers).forEach(([name, value]) => setHeader(name, value));
        const profile: UserProfile = await users.create(body);
        return { status: 201, body: { user: presentUser(profile) }, headers: noStore };
      },
    }),
    route<unknown, unknown, { username: string; password: string }>({
      method: 'post',
      path: '/auth/login',
      operationId: 'login',
      tag: 'Identity',
      summary: 'Sign in',
      access: 'anyone',
      body: Joi.object({
        username: Joi.string().min(1).max(200).required(),
        password: givenPassword.required(),
      }),
      responses: { 200: { description: 'Tokens, and the user', schema: grant } },
      problems: ['INVALID_REQUEST', 'BAD_CREDENTIALS', 'USER_BANNED', 'RATE_LIMITED', 'UNAVAILABLE'],
      async handle({ body, ip, userAgent }) {
        const profile = await signIn({ ...body, ip });
        const opened = await sessions.open(profile, userAgent);
        return { status: 200, body: presentGrant(opened), headers: noStore };
      },
    }),
    route<unknown, unknown, { refreshToken: string }>({
      method: 'post',
      path: '/auth/refresh',
      operationId: 'refresh',
      tag: 'Identity',
      summary: 'Refresh the tokens of a login',
      description:
        'Each refresh token works once. For ten seconds it gives the same successor again; after that, using it a second time ends its login.',
      access: 'anyone',
      // A player who cannot renew a session in the middle of a game cannot complete an action either.
      sacrifice: 'completion',
      body: Joi.object({ refreshToken }),
      responses: { 200: { description: 'New tokens', schema: grant } },
      problems: [
        'INVALID_REQUEST',
        'UNAUTHENTICATED',
        'REFRESH_TOKEN_REUSED',
        'USER_BANNED',
        'RATE_LIMITED',
        'UNAVAILABLE',
      ],
      async handle({ body, ip }) {
        await admission.admit({ kind: 'write', ip });
        return {
          status: 200,
          body: presentGrant(await sessions.refresh(body.refreshToken)),
          headers: noStore,
        };
      },
    }),
    route<unknown, unknown, { refreshToken: string }>({
      method: 'post',
      path: '/auth/logout',
      operationId: 'logout',
      tag: 'Identity',
      summary: 'End a login',
      description:
        'Ends the refresh tokens and the signing key of the login. Access tokens live to their expiry.',
      access: 'anyone',
      body: Joi.object({ refreshToken }),
      responses: { 204: { description: 'Ended' } },
      problems: ['INVALID_REQUEST', 'RATE_LIMITED', 'UNAVAILABLE'],
      async handle({ body, ip }) {
        await admission.admit({ kind: 'write', ip });
        await sessions.close(body.refreshToken);
        return { status: 204 };
      },
    }),
  ];
}
