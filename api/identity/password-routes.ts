import Joi from 'joi';
import {
  isPasswordReset,
  issuePasswordReset,
  redeemPasswordReset,
} from '../../common/identity/password-resets.ts';
import { hashPassword } from '../../common/identity/passwords.ts';
import type { Database } from '../../common/postgres.ts';
import type { UserDirectory } from '../../common/users/user-directory.ts';
import { audit } from '../admin/audit.ts';
import type { AdmissionControl } from '../admission/admission.ts';
import { Problem } from '../http/problem.ts';
import { route, signedIn, type Route } from '../http/route.ts';
import * as schemas from '../http/schemas.ts';
import { givenPassword, grant, noStore, password, presentGrant } from './schemas.ts';
import type { Sessions } from './sessions.ts';
import type { PasswordCheck } from './sign-in.ts';
import type { Users } from './users.ts';

export interface PasswordDeps {
  readonly db: Database;
  readonly directory: UserDirectory;
  readonly users: Users;
  readonly sessions: Sessions;
  readonly checkPassword: PasswordCheck;
  readonly admission: AdmissionControl;
}

/** Changes and resets of passwords. Each ends every login of the user, access tokens included. */
export function passwordRoutes(deps: PasswordDeps): Route[] {
  const { db, directory, users, sessions, checkPassword, admission } = deps;
  return [
    route<unknown, unknown, { current: string; new: string }>({
      method: 'post',
      path: '/auth/password',
      operationId: 'changePassword',
      tag: 'Identity',
      summary: 'Change my password',
      description: 'Ends every login, access tokens included, and answers with a new one for the caller.',
      access: 'player',
      openLogin: true,
      body: Joi.object({
        current: givenPassword
          .description('the password until now')
          .example('correct horse battery')
          .required(),
        new: password.required(),
      }),
      responses: { 200: { description: 'Tokens of the new login', schema: grant } },
      problems: ['INVALID_REQUEST', 'BAD_CREDENTIALS', 'FORBIDDEN', 'RATE_LIMITED', 'UNAVAILABLE'],
      async handle(input) {
        const { profile } = signedIn(input);
        await checkPassword(profile.userId, input.body.current, input.ip);
        const changed = await users.setPassword(profile, await hashPassword(input.body.new));
        const opened = await sessions.open(changed, input.userAgent);
        return { status: 200, body: presentGrant(opened), headers: noStore };
      },
    }),
    route<unknown, unknown, { token: string; password: string }>({
      method: 'post',
      path: '/auth/password/reset',
      operationId: 'resetPassword',
      tag: 'Identity',
      summary: 'Choose a new password with a reset token',
      description:
        'The token comes from an administrator, is good for an hour, and works once. Every login of the user ends.',
      access: 'anyone',
      body: Joi.object({ token: Joi.string().max(200).required(), password: password.required() }),
      responses: { 204: { description: 'Changed. Sign in with the new password.' } },
      problems: ['INVALID_REQUEST', 'UNAUTHENTICATED', 'RATE_LIMITED', 'UNAVAILABLE'],
      async handle({ body, ip }) {
        await admission.admit({ kind: 'write', ip });
        const userId = (await isPasswordReset(db, body.token))
          ? await redeemPasswordReset(db, body.token, await hashPassword(body.password))
          : undefined;
        if (userId === undefined) {
          throw new Problem(
            'UNAUTHENTICATED',
            'The reset token is not known, was used, or has expired. Ask for a new one.',
            { security: { event: 'password_reset_refused' } },
          );
        }
        await directory.changed(userId).catch(() => undefined); // the outbox tells the others
        return { status: 204 };
      },
    }),
    route<{ userId: string }>({
      method: 'post',
      path: '/admin/users/:userId/password-reset',
      operationId: 'issuePasswordReset',
      tag: 'Administration',
      summary: 'Make a reset token for a user',
      description:
        'Hand it to the user: with it the user chooses a new password, once, within an hour. It replaces an earlier one, also when the request is repeated. The token is shown here only.',
      access: 'admin',
      idempotent: 'optional',
      params: Joi.object({ userId: schemas.givenUserId.required() }),
      responses: {
        201: {
          description: 'The token',
          schema: Joi.object({
            userId: schemas.userId.required(),
            token: Joi.string().required(),
            expiresAt: schemas.instant.required(),
          }).id('PasswordReset'),
        },
      },
      problems: ['USER_NOT_FOUND'],
      async handle(input) {
        const { userId } = input.params;
        const actor = signedIn(input).profile.userId;
        let issued: Awaited<ReturnType<typeof issuePasswordReset>> | undefined;
        await input.once(async (trx) => {
          const user: unknown = await trx('users').where({ id: userId }).whereNull('erased_at').first('id');
          if (user === undefined) throw new Problem('USER_NOT_FOUND', 'There is no user of this id.');
          await audit(trx, { actor, action: 'user.password_reset', subject: userId, details: {} });
          issued = await issuePasswordReset(trx, userId, actor);
        });
        // No store keeps a token that can be read: a repetition with the same key gets a new one in place of the first.
        const reset = issued ?? (await db.transaction((trx) => issuePasswordReset(trx, userId, actor)));
        return {
          status: 201,
          body: { userId, token: reset.token, expiresAt: reset.expiresAt.toISOString() },
          headers: noStore,
          provisional: true,
        };
      },
    }),
  ];
}
