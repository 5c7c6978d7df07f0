import { issuePasswordReset } from '../common/identity/password-resets.ts';
import { newId } from '../common/ids.ts';
import { usernameKey } from '../common/users/names.ts';
import { withDatabase } from './database.ts';
import { Failure } from './failure.ts';
import type { Settings } from './settings.ts';

/** Prints a token with which a user may choose a new password: for whom no administrator can help, the administrators first. */
export async function runResetPassword(settings: Settings<'DATABASE_URL'>, username: string): Promise<void> {
  await withDatabase(settings, async (db) => {
    const user = (await db('users')
      .where({ username_key: usernameKey(username) })
      .whereNull('erased_at')
      .first('id')) as { id: string } | undefined;
    if (!user) throw new Failure(`There is no user called ${username}. Look at the spelling.`);
    const { token, expiresAt } = await issuePasswordReset(db, user.id, 'cli');
    await db('audit_log').insert({
      id: newId(),
      actor: 'system',
      action: 'user.password_reset',
      subject: user.id,
      details: {},
    });
    console.log(token);
    console.error(
      `With this token ${username} chooses a new password, once, until ${expiresAt.toISOString()}: POST /api/v1/auth/password/reset {"token", "password"}.`,
    );
  });
}
