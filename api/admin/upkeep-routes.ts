import Joi from 'joi';
import type { Catalog } from '../../common/catalog.ts';
import type { Database } from '../../common/postgres.ts';
import type { Queues } from '../../common/queues.ts';
import type { Redis } from '../../common/redis.ts';
import { route, signedIn, type Route } from '../http/route.ts';
import * as schemas from '../http/schemas.ts';
import { audit } from './audit.ts';
import { closeSeason } from './close-season.ts';

export interface UpkeepDeps {
  readonly db: Database;
  readonly redis: Redis;
  readonly queues: Queues;
  readonly catalog: Catalog;
}

interface ReconciliationRow {
  id: string;
  job_id: string | null;
  trigger: string;
  started_at: Date;
  finished_at: Date | null;
  compared: string;
  drifted: string;
  error: string | null;
}

const common = { tag: 'Administration', access: 'admin' as const };
const limit = Joi.number().integer().min(1).max(100).default(20);

/** Reconciliation, and the closing of seasons. */
export function upkeepRoutes({ db, redis, queues, catalog }: UpkeepDeps): Route[] {
  return [
    route({
      ...common,
      idempotent: 'optional',
      method: 'post',
      path: '/admin/reconciliations',
      operationId: 'reconcile',
      summary: 'Start a reconciliation',
      description:
        'Every board, every user; what differs is repaired. While one waits, asking again changes nothing.',
      responses: {
        202: {
          description: 'Accepted; it runs soon',
          schema: Joi.object({ jobId: Joi.string().required() }),
          headers: ['Location'],
        },
      },
      problems: [],
      async handle(input) {
        // Asked for before the commit: a reconciliation that no line tells of does no harm, a line without one misleads.
        const { jobId } = await input.once(async (trx) => {
          const asked = await queues.requestMaintenance('reconcile', { trigger: 'admin' });
          await audit(trx, {
            actor: signedIn(input).profile.userId,
            action: 'reconciliation.request',
            subject: asked,
            details: {},
          });
          return { jobId: asked };
        });
        return { status: 202, body: { jobId }, headers: { Location: '/api/v1/admin/reconciliations' } };
      },
    }),
    route<unknown, { limit: number }>({
      ...common,
      method: 'get',
      path: '/admin/reconciliations',
      operationId: 'listReconciliations',
      summary: 'List reconciliations, newest first',
      query: Joi.object({ limit }),
      responses: {
        200: {
          description: 'The newest of them',
          schema: Joi.object({
            reconciliations: Joi.array()
              .items(
                Joi.object({
                  id: Joi.string().required(),
                  jobId: schemas
                    .nullable(Joi.string())
                    .required()
                    .description('as the answer of POST named it'),
                  trigger: Joi.string().valid('schedule', 'cli', 'admin', 'restart').required(),
                  startedAt: schemas.instant.required(),
                  finishedAt: schemas.nullable(schemas.instant).required(),
                  compared: Joi.number().integer().required(),
                  drifted: Joi.number().integer().required(),
                  error: schemas.nullable(Joi.string()).required(),
                }),
              )
              .required(),
          }),
        },
      },
      problems: [],
      async handle({ query }) {
        const rows = await db<ReconciliationRow>('reconciliations')
          .orderBy('started_at', 'desc')
          .limit(query.limit);
        const reconciliations = (rows as ReconciliationRow[]).map((row) => ({
          id: row.id,
          jobId: row.job_id,
          trigger: row.trigger,
          startedAt: row.started_at.toISOString(),
          finishedAt: row.finished_at?.toISOString() ?? null,
          compared: Number(row.compared),
          drifted: Number(row.drifted),
          error: row.error,
        }));
        return { status: 200, body: { reconciliations } };
      },
    }),
    closeSeason({ db, redis, queues, catalog }),
  ];
}
