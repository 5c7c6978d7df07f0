import { createDatabase } from '../../common/postgres.ts';
import { ensureUser } from '../../common/seed.ts';
import { Player } from './player.ts';

export const administratorPassword = 'an administrator’s password';

/** A signed-in administrator. */
export async function administrator(databaseUrl: string, api: string): Promise<Player> {
  const db = createDatabase({ DATABASE_URL: databaseUrl, DATABASE_POOL_MAX: 2 }, 'seed');
  try {
    await ensureUser(db, 'admin', administratorPassword, 'admin');
  } finally {
    await db.destroy();
  }
  return Player.signIn(api, 'admin', administratorPassword);
}
