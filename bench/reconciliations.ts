import { setTimeout as delay } from 'node:timers/promises';
import type { Database } from '../common/postgres.ts';

/** How many reconciliations have ended. */
async function countReconciliations(db: Database): Promise<number> {
  const { rows } = await db.raw<{ rows: { n: number }[] }>(
    'select count(*)::int as n from reconciliations where finished_at is not null',
  );
  return rows[0]?.n ?? 0;
}

/** Waits until so many reconciliations have ended: Laurel runs one by itself whenever Redis has lost its data. */
export async function reconciliationsToEnd(db: Database, count: number): Promise<void> {
  while ((await countReconciliations(db)) < count) await delay(20);
}
