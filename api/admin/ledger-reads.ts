import Joi from 'joi';
import type { Knex } from 'knex';
import type { Database } from '../../common/postgres.ts';
import type { CorrectionJob } from '../../common/queues.ts';
import { Problem } from '../http/problem.ts';
import { route, type Route } from '../http/route.ts';
import * as schemas from '../http/schemas.ts';

const common = { tag: 'Administration', access: 'admin' as const };
const text = schemas.nullable(Joi.string()).required();
const number = schemas.nullable(Joi.number().integer()).required();
const moment = schemas.nullable(schemas.instant).required();

const entrySchema = Joi.object({
  transactionId: Joi.string().required(),
  status: Joi.string()
    .valid('applied', 'queued', 'failed')
    .required()
    .description('corrections wait as `queued`; `failed` ones were set aside, see `failure`'),
  failure: text,
  kind: Joi.string().valid('completion', 'adjustment', 'rollback').required(),
  userId: schemas.userId.required(),
  username: text,
  leaderboard: text,
  type: text,
  actionId: text,
  points: number.description('what it was worth before limits; of a correction, what was asked for'),
  delta: number.description('what the leaderboard’s all-time score changed by'),
  before: number,
  after: number,
  globalDelta: number,
  acceptedAt: schemas.instant.required(),
  appliedAt: moment,
  reverses: text.description('the entry that this one takes back'),
  reversedBy: text.description('the entry that takes this one back'),
  reason: text,
  actor: text,
  actorName: text,
}).id('LedgerEntry');

interface EntryRow {
  readonly id: string;
  readonly kind: string;
  readonly user_id: string;
  readonly username: string | null;
  readonly leaderboard: string;
  readonly type: string | null;
  readonly action_id: string | null;
  readonly points: string;
  readonly delta: string;
  readonly before: string;
  readonly after: string;
  readonly global_delta: string;
  readonly accepted_at: Date;
  readonly applied_at: Date;
  readonly reverses: string | null;
  readonly reversed_by: string | null;
  readonly reason: string | null;
  readonly actor: string | null;
  readonly actor_name: string | null;
}

const present = (row: EntryRow) => ({
  transactionId: row.id,
  status: 'applied',
  failure: null,
  kind: row.kind,
  userId: row.user_id,
  username: row.username,
  leaderboard: row.leaderboard,
  type: row.type,
  actionId: row.action_id,
  points: Number(row.points),
  delta: Number(row.delta),
  before: Number(row.before),
  after: Number(row.after),
  globalDelta: Number(row.global_delta),
  acceptedAt: row.accepted_at.toISOString(),
  appliedAt: row.applied_at.toISOString(),
  reverses: row.reverses,
  reversedBy: row.reversed_by,
  reason: row.reason,
  actor: row.actor,
  actorName: row.actor_name,
});

const entries = (db: Database): Knex.QueryBuilder =>
  db('ledger as l')
    .leftJoin('users as u', 'u.id', 'l.user_id')
    .leftJoin('users as a', 'a.id', 'l.actor')
    .leftJoin('ledger as r', (on) => on.on('r.reverses', 'l.id').andOnVal('r.kind', 'rollback'))
    .select('l.*', 'u.username', 'a.username as actor_name', 'r.id as reversed_by');

interface QueuedRow {
  readonly transaction_id: string;
  readonly user_id: string;
  readonly username: string | null;
  readonly payload: Partial<CorrectionJob>;
  readonly accepted_at: Date;
  readonly dead_at: Date | null;
  readonly dead_reason: string | null;
}

/** A correction that is accepted and not applied, in the form of an entry. */
const presentQueued = ({ payload, ...row }: QueuedRow) => ({
  transactionId: row.transaction_id,
  status: row.dead_at ? 'failed' : 'queued',
  failure: row.dead_reason,
  kind: payload.correction ?? 'adjustment',
  userId: row.user_id,
  username: row.username,
  leaderboard: payload.leaderboard ?? null,
  type: null,
  actionId: null,
  points: payload.delta ?? null,
  delta: null,
  before: null,
  after: null,
  globalDelta: null,
  acceptedAt: row.accepted_at.toISOString(),
  appliedAt: null,
  reverses: payload.reverses ?? null,
  reversedBy: null,
  reason: payload.reason ?? null,
  actor: payload.actor ?? null,
  actorName: null,
});

/** What stands in the ledger: how operators find the entry that a player asks about. */
export function ledgerReadRoutes({ db }: { readonly db: Database }): Route[] {
  return [
    route<
      { userId: string },
      { leaderboard?: string; from?: string; to?: string; limit: number; cursor?: string }
    >({
      ...common,
      method: 'get',
      path: '/admin/users/:userId/ledger',
      operationId: 'listUserLedger',
      summary: 'List a user’s ledger entries, newest first',
      params: Joi.object({ userId: schemas.givenUserId.required() }),
      query: Joi.object({
        leaderboard: schemas.boardKey,
        from: Joi.string().isoDate().max(40).description('accepted at this time or later'),
        to: Joi.string().isoDate().max(40).description('accepted before this time'),
        limit: Joi.number().integer().min(1).max(100).default(20).description('entries a page'),
        cursor: Joi.string().max(64).description('`nextCursor` of the page before'),
      }),
      responses: {
        200: {
          description: 'A page of entries',
          schema: Joi.object({
            entries: Joi.array().items(entrySchema).required(),
            nextCursor: schemas.nullable(Joi.string()).required(),
          }),
        },
      },
      problems: ['USER_NOT_FOUND'],
      async handle({ params: { userId }, query: { leaderboard, from, to, limit, cursor } }) {
        if (!(await db('users').where({ id: userId }).first('id')))
          throw new Problem('USER_NOT_FOUND', 'There is no user of this id.');
        const wanted = {
          'l.user_id': userId,
          ...(leaderboard !== undefined && { 'l.leaderboard': leaderboard }),
        };
        const page = entries(db)
          .where(wanted)
          .orderBy('l.seq', 'desc')
          .limit(limit + 1);
        if (from !== undefined) void page.where('l.accepted_at', '>=', from);
        if (to !== undefined) void page.where('l.accepted_at', '<', to);
        if (cursor !== undefined) {
          const last = (await db('ledger as l')
            .where({ ...wanted, 'l.id': cursor })
            .first('l.seq')) as { seq: string } | undefined;
          if (!last) {
            throw new Problem(
              'INVALID_REQUEST',
              'The cursor is not one of this list. Begin again without it.',
              {
                errors: [{ path: 'cursor', message: 'is not one of this list' }],
              },
            );
          }
          void page.where('l.seq', '<', last.seq);
        }
        const rows = (await page) as EntryRow[];
        const shown = rows.slice(0, limit);
        return {
          status: 200,
          body: {
            entries: shown.map(present),
            nextCursor: rows.length > limit ? (shown.at(-1)?.id ?? null) : null,
          },
        };
      },
    }),
    route<{ transactionId: string }>({
      ...common,
      method: 'get',
      path: '/admin/transactions/:transactionId',
      operationId: 'getTransaction',
      summary: 'Read a ledger entry, or a correction that waits',
      params: Joi.object({ transactionId: Joi.string().max(64).required() }),
      responses: { 200: { description: 'The entry', schema: entrySchema } },
      problems: ['NOT_FOUND'],
      async handle({ params: { transactionId } }) {
        const entry = (await entries(db).where('l.id', transactionId).first()) as EntryRow | undefined;
        if (entry) return { status: 200, body: present(entry) };
        const queued = (await db('queued_corrections as q')
          .leftJoin('users as u', 'u.id', 'q.user_id')
          .where('q.transaction_id', transactionId)
          .first('q.*', 'u.username')) as QueuedRow | undefined;
        if (!queued) throw new Problem('NOT_FOUND', 'There is no ledger entry of this id.');
        return { status: 200, body: presentQueued(queued) };
      },
    }),
  ];
}
