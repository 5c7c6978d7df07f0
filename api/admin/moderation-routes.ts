import Joi from 'joi';
import type { Knex } from 'knex';
import type { UserDirectory } from '../../common/users/user-directory.ts';
import { Problem } from '../http/problem.ts';
import { route, signedIn, type Input, type Reply, type Route } from '../http/route.ts';
import * as schemas from '../http/schemas.ts';
import { audit } from './audit.ts';

export interface ModerationDeps {
  readonly directory: UserDirectory;
}

const userParams = Joi.object({ userId: schemas.givenUserId.required() });
const banSchema = Joi.object({
  userId: schemas.userId.required(),
  banned: Joi.boolean().required(),
  reason: schemas.nullable(Joi.string()).required(),
}).id('Ban');
const common = { tag: 'Administration', access: 'admin' as const, idempotent: 'optional' as const };

/** @throws INVALID_REQUEST when nobody could lift the ban any more */
async function keepAnAdministrator(trx: Knex, userId: string, actor: string): Promise<void> {
  if (userId === actor) {
    throw new Problem('INVALID_REQUEST', 'You cannot ban yourself. Ask another administrator.', {
      errors: [{ path: 'userId', message: 'is your own' }],
    });
  }
  // Locked, so that two administrators who ban each other at once do not both succeed.
  const administrators = (await trx('users')
    .where({ role: 'admin' })
    .whereNull('banned_at')
    .whereNull('erased_at')
    .orderBy('id')
    .forUpdate()
    .select('id')) as { id: string }[];
  if (administrators.length === 1 && administrators[0]?.id === userId) {
    throw new Problem('INVALID_REQUEST', 'This is the last administrator. Make another one first.', {
      errors: [{ path: 'userId', message: 'is the last administrator’s' }],
    });
  }
}

/** Bans: at once and everywhere, and each written down in the transaction that decides it. */
export function moderationRoutes({ directory }: ModerationDeps): Route[] {
  async function setBan(
    input: Pick<Input<{ userId: string }>, 'params' | 'caller' | 'once'>,
    because: string | null,
  ): Promise<Reply> {
    const { userId } = input.params;
    const actor = signedIn(input).profile.userId;
    const banned = because !== null;
    await input.once(async (trx) => {
      if (banned) await keepAnAdministrator(trx, userId, actor);
      const changed = await trx('users')
        .where({ id: userId })
        .whereNull('erased_at')
        .update({ banned_at: banned ? new Date() : null, ban_reason: because, updated_at: new Date() });
      if (changed === 0) throw new Problem('USER_NOT_FOUND', 'There is no user of this id.');
      await audit(trx, {
        actor,
        action: banned ? 'user.ban' : 'user.unban',
        subject: userId,
        details: { reason: because },
      });
    });
    // What is committed holds. The outbox brings it to Redis, and the user off the boards; this does so sooner, where it can.
    await directory.changed(userId);
    return { status: 200, body: { userId, banned, reason: because } };
  }

  return [
    route<{ userId: string }, unknown, { reason: string }>({
      ...common,
      method: 'post',
      path: '/admin/users/:userId/ban',
      operationId: 'banUser',
      summary: 'Ban a user',
      description:
        'At once and everywhere: requests are refused, sockets are closed, and the user is on no board. You cannot ban yourself, nor the last administrator.',
      params: userParams,
      body: Joi.object({ reason: Joi.string().min(1).max(500).required() }),
      responses: { 200: { description: 'Banned', schema: banSchema } },
      problems: ['USER_NOT_FOUND'],
      handle: (input) => setBan(input, input.body.reason),
    }),
    route<{ userId: string }>({
      ...common,
      method: 'delete',
      path: '/admin/users/:userId/ban',
      operationId: 'unbanUser',
      summary: 'Lift a ban',
      description: 'The user returns to the boards with the scores earned before.',
      params: userParams,
      responses: { 200: { description: 'No longer banned', schema: banSchema } },
      problems: ['USER_NOT_FOUND'],
      handle: (input) => setBan(input, null),
    }),
  ];
}
