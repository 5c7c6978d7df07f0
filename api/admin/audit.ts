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
  actor_name: string | null;
  subject_name: string | null;
}

export interface AuditFilter {
  readonly action?: string;
  readonly actor?: string;
  readonly subject?: string;
  /** ISO 8601; inclusive */
  readonly from?: string;
  /** ISO 8601; exclusive */
  readonly to?: string;
}

/** Actions whose subject is a user; that of others may have the text of a user's id by chance. */
const ABOUT_USERS = String.raw`l.action ~ '^(user|score|completion)\.'`;

/** The audit log, newest first, with the names that users have now. @param before the id of the last entry seen */
export async function readAudit(
  db: Database,
  { action, actor, subject, from, to }: AuditFilter,
  limit: number,
  before: string | undefined,
): Promise<AuditRow[]> {
  const query = db('audit_log as l')
    .leftJoin('users as a', 'a.id', 'l.actor')
    .leftJoin('users as s', (on) => on.on('s.id', 'l.subject').andOn(db.raw(ABOUT_USERS)))
    .orderBy('l.id', 'desc')
    .limit(limit)
    .select<AuditRow[]>('l.*', 'a.username as actor_name', 's.username as subject_name');
  if (action !== undefined) void query.where('l.action', action);
  if (actor !== undefined) void query.where('l.actor', actor);
  if (subject !== undefined) void query.where('l.subject', subject);
  if (from !== undefined) void query.where('l.at', '>=', from);
  if (to !== undefined) void query.where('l.at', '<', to);
  if (before !== undefined) void query.where('l.id', '<', before);
  return query;
}
