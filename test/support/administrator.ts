import { createDatabase } from '../../common/postgres.ts';
import { ensureUser } from '../../common/seed.ts';
import { Player } from './player.ts';

const password = 'an administrator’s password';

/** A signed-in administrator. */
export async function administrator(databaseUrl: string, api: string): Promise<Player> {
  const db = createDatabase({ DATABASE_URL: databaseUrl, DATABASE_POOL_MAX: 2 }, 'seed');
  try {
    await ensureUser(db, 'admin', password, 'admin');
  } finally {
    await db.destroy();
  }
  return Player.signIn(api, 'admin', password);
}
