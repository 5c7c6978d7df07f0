import jwt from 'jsonwebtoken';
import { loadConfig } from '../common/config.ts';
import { AccessTokens } from '../common/identity/access-tokens.ts';
import { newId } from '../common/ids.ts';
import { HttpLine } from './generators/http-line.ts';
import { withDatabase } from './stores.ts';
import { secrets } from './system.ts';

export interface BenchPlayer {
  readonly userId: string;
  readonly token: string;
}

/** Players who are signed in: rows of Postgres, and tokens that the servers take for their own. */
export async function createPlayers(databaseUrl: string, count: number): Promise<BenchPlayer[]> {
  const ids = Array.from({ length: count }, () => newId());
  await withDatabase(databaseUrl, (db) =>
    db.raw(
      `insert into users (id, username, username_key)
       select id, 'player-' || n, 'player-' || id from unnest(:ids::text[]) with ordinality as u(id, n)`,
      { ids },
    ),
  );
  const tokens = new AccessTokens(loadConfig(secrets));
  return ids.map((userId) => ({
    userId,
    token: tokens.issue({ userId, username: userId, role: 'player', sessionId: 'bench', epoch: 0 }).token,
  }));
}

/**
 * Players of an outside identity service whom Laurel has never seen: no rows, and tokens that the service would have issued.
 * Their first request makes their account (`USER_PROVISIONING=auto`).
 */
export function unseenPlayers(count: number): BenchPlayer[] {
  return Array.from({ length: count }, () => {
    const userId = newId();
    return { userId, token: jwt.sign({}, secrets.JWT_SECRETS, { subject: userId, expiresIn: 3600 }) };
  });
}

const LINES = 64;

/** Has each player read the own profile, as a game client does before it plays. */
export async function signIn(url: string, players: readonly BenchPlayer[]): Promise<void> {
  const rest = players.values();
  await Promise.all(
    Array.from({ length: LINES }, async () => {
      const line = new HttpLine(url);
      for (const { token } of rest) {
        const { status, body } = await line.send('GET', '/api/v1/users/me', token);
        if (status !== 200) throw new Error(`A player could not sign in: ${status} ${body}`);
      }
      await line.close();
    }),
  );
}
