import { createDatabase } from '../../common/postgres.ts';

/** Keeps every worker from applying anything of a user. @returns what lets them go on */
export async function holdLine(databaseUrl: string, userId: string): Promise<() => Promise<void>> {
  const db = createDatabase({ DATABASE_URL: databaseUrl, DATABASE_POOL_MAX: 1 }, 'test');
  const line = await db.transaction();
  await line.raw('select lock_users(?)', [[userId]]);
  return async () => {
    await line.commit();
    await db.destroy();
  };
}
