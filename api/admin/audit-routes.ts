import Joi from 'joi';
import type { Database } from '../../common/postgres.ts';
import { route, type Route } from '../http/route.ts';
import * as schemas from '../http/schemas.ts';
import { readAudit, type AuditFilter } from './audit.ts';

const id = Joi.string().max(255);
const entrySchema = Joi.object({
  id: Joi.string().required(),
  at: schemas.instant.required(),
  actor: Joi.string().required(),
  actorName: schemas.nullable(Joi.string()).required().description('null when it is no user, as `system`'),
  action: Joi.string().required(),
  subject: schemas.nullable(Joi.string()).required(),
  subjectName: schemas.nullable(Joi.string()).required().description('of subjects that are users'),
  details: Joi.object().unknown(true).required(),
}).id('AuditEntry');

export function auditRoutes({ db }: { readonly db: Database }): Route[] {
  return [
    route<unknown, AuditFilter & { limit: number; cursor?: string }>({
      tag: 'Administration',
      access: 'admin',
      method: 'get',
      path: '/admin/audit-log',
      operationId: 'readAuditLog',
      summary: 'List the audit log, newest first',
      query: Joi.object({
        action: Joi.string().max(64).description('as `user.ban`'),
        actor: id.description('a user id'),
        subject: id.description('what it was done to: a user id, a key, the id of a job'),
        from: Joi.string().isoDate().max(40).description('at this time or later'),
        to: Joi.string().isoDate().max(40).description('before this time'),
        limit: Joi.number().integer().min(1).max(100).default(20),
        cursor: schemas.uuid.description('`nextCursor` of the page before'),
      }),
      responses: {
        200: {
          description: 'A page of the log',
          schema: Joi.object({
            entries: Joi.array().items(entrySchema).required(),
            nextCursor: schemas.nullable(Joi.string()).required(),
          }),
        },
      },
      problems: [],
      async handle({ query: { limit, cursor, ...filter } }) {
        const rows = await readAudit(db, filter, limit + 1, cursor);
        const page = rows.slice(0, limit);
        return {
          status: 200,
          body: {
            entries: page.map(({ at, actor_name: actorName, subject_name: subjectName, ...row }) => ({
              ...row,
              at: at.toISOString(),
              actorName,
              subjectName,
            })),
            nextCursor: rows.length > limit ? (page.at(-1)?.id ?? null) : null,
          },
        };
      },
    }),
  ];
}
