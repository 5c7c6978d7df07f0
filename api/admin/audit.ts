import type { Knex } from 'knex';
import { newId } from '../../common/ids.ts';
import type { Database } from '../../common/postgres.ts';

/** Something an administrator did. */
export interface AuditEntry {
  readonly actor: string;
  /** as `leaderboard.create`, `user.ban` */
  readonly action: string;
  readonly subject: string | null;
  readonly details: Record<string, unknown>;
}

/** Writes down what an administrator does, in the transaction that does it. */
export async function audit(trx: Knex, { actor, action, subject, details }: AuditEntry): Promise<void> {
  await trx('audit_log').insert({ id: newId(), actor, action, subject, details: JSON.stringify(details) });
}

interface AuditRow {
  id: string;
  at: Date;
  actor: string;
  action: string;
  subject: string | null;
  details: Record<string, unknown>;
}

/** The audit log, newest first. @param before the id of the last entry seen */
export async function readAudit(
  db: Database,
  limit: number,
  before: string | undefined,
): Promise<AuditRow[]> {
  const query = db<AuditRow>('audit_log').orderBy('id', 'desc').limit(limit);
  if (before !== undefined) void query.where('id', '<', before);
  return query;
}
