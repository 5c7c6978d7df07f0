import Joi from 'joi';
import { GLOBAL_BOARD } from '../../common/board/board.ts';
import type { Catalog } from '../../common/catalog.ts';
import type { Redis } from '../../common/redis.ts';
import { announce } from '../../common/events.ts';
import { periods } from '../../common/periods.ts';
import type { Database } from '../../common/postgres.ts';
import { clippedPrices } from '../actions/pricing.ts';
import { Problem } from '../http/problem.ts';
import { route, signedIn, type Route } from '../http/route.ts';
import * as schemas from '../http/schemas.ts';
import { audit } from './audit.ts';

export interface CatalogAdminDeps {
  readonly db: Database;
  readonly redis: Redis;
  readonly catalog: Catalog;
}

const key = Joi.string().pattern(
  /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/,
  '1 to 64 letters, digits, _ or -, the first a letter or digit',
);
const title = Joi.string().min(1).max(120);
const instant = schemas.nullable(Joi.string().isoDate().max(40));
const periodList = Joi.array()
  .items(Joi.string().valid(...periods))
  .unique()
  .has('all')
  .messages({ 'array.hasUnknown': 'must contain all' })
  .description('must contain all');

/** A kind of thing that operators define: its table, and how its columns are called in the API. */
interface Definition {
  readonly name: 'leaderboard' | 'action-type';
  readonly path: string;
  readonly table: string;
  readonly fields: Readonly<
    Record<string, { readonly column: string; readonly schema: Joi.Schema; readonly json?: boolean }>
  >;
  readonly required: readonly string[];
  readonly unknown: 'LEADERBOARD_NOT_FOUND' | 'UNKNOWN_ACTION_TYPE';
}

const leaderboards: Definition = {
  name: 'leaderboard',
  path: '/admin/leaderboards',
  table: 'leaderboards',
  fields: {
    title: { column: 'title', schema: title },
    scoreCap: { column: 'score_cap', schema: Joi.number().integer().min(1).max(1_000_000_000_000) },
    maxPointsPerUpdate: {
      column: 'max_points_per_update',
      schema: Joi.number().integer().min(1).max(1_000_000_000),
    },
    periods: { column: 'periods', schema: periodList },
    visibility: { column: 'visibility', schema: Joi.string().valid('public', 'private') },
    opensAt: { column: 'opens_at', schema: instant },
    closesAt: { column: 'closes_at', schema: instant },
  },
  required: ['title'],
  unknown: 'LEADERBOARD_NOT_FOUND',
};

const actionTypes: Definition = {
  name: 'action-type',
  path: '/admin/action-types',
  table: 'action_types',
  fields: {
    title: { column: 'title', schema: title },
    points: { column: 'points', schema: Joi.number().integer().min(0).max(1_000_000) },
    difficulties: {
      column: 'difficulties',
      schema: Joi.object()
        .pattern(/^[a-z0-9_-]{1,32}$/i, Joi.number().min(0).max(1000))
        .max(20)
        .messages({ 'object.unknown': 'must be named with 1 to 32 letters, digits, _ or -' })
        .description('difficulty -> multiplier of the points'),
      json: true,
    },
    leaderboards: {
      column: 'leaderboards',
      schema: schemas
        .nullable(Joi.array().items(key).unique().max(100))
        .description('where it may be played; null = everywhere'),
    },
    clientSigned: {
      column: 'client_signed',
      schema: Joi.boolean().description('whether games may complete it by their own signature'),
    },
    minDurationMs: { column: 'min_duration_ms', schema: Joi.number().integer().min(0).max(300_000) },
  },
  required: ['title', 'points'],
  unknown: 'UNKNOWN_ACTION_TYPE',
};

type Row = Record<string, unknown> & {
  key: string;
  archived_at: Date | null;
  created_at: Date;
  updated_at: Date;
};

/** Endpoints that define leaderboards and action types. A change reaches every process within a second. */
export function catalogAdminRoutes(deps: CatalogAdminDeps): Route[] {
  return [leaderboards, actionTypes].flatMap((definition) => routesOf(definition, deps));
}

function routesOf(definition: Definition, { db, redis, catalog }: CatalogAdminDeps): Route[] {
  const { name, path, table, fields, required } = definition;
  const id = name === 'leaderboard' ? 'Leaderboard' : 'ActionType';
  const one = name === 'leaderboard' ? 'a leaderboard' : 'an action type';
  const bodyFields = (isRequired: (field: string) => boolean) =>
    Object.fromEntries(
      Object.entries(fields).map(([field, { schema }]) => [
        field,
        isRequired(field) ? schema.required() : schema,
      ]),
    );
  const schema = Joi.object({
    key: key.required(),
    ...bodyFields(() => true),
    archivedAt: schemas.nullable(schemas.instant).required(),
    createdAt: schemas.instant.required(),
    updatedAt: schemas.instant.required(),
  }).id(`${id}Definition`);

  const changedSchema = schema
    .keys({
      warnings: Joi.array()
        .items(Joi.string())
        .required()
        .description('prices that a leaderboard does not pay in full'),
    })
    .id(`Changed${id}`);
  const warnings = (changed: string): string[] =>
    clippedPrices(catalog, name === 'leaderboard' ? { leaderboard: changed } : { type: changed });

  const present = (row: Row): Record<string, unknown> => ({
    key: row.key,
    ...Object.fromEntries(
      Object.entries(fields).map(([field, { column }]) => {
        const value = row[column];
        // Postgres sends bigints as text; these fit a number.
        const isBigint = column === 'score_cap' || column === 'max_points_per_update';
        return [field, value instanceof Date ? value.toISOString() : isBigint ? Number(value) : value];
      }),
    ),
    archivedAt: row.archived_at?.toISOString() ?? null,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  });
  const toColumns = (body: Record<string, unknown>): Record<string, unknown> =>
    Object.fromEntries(
      Object.entries(fields).flatMap(([field, { column, json }]) =>
        body[field] === undefined ? [] : [[column, json ? JSON.stringify(body[field]) : body[field]]],
      ),
    );
  const notFound = (): Problem => new Problem(definition.unknown, `There is no ${name} of this key.`);

  const isOpen = (closesAt: unknown): boolean =>
    typeof closesAt !== 'string' || Date.parse(closesAt) > Date.now();

  function refuseEndOfGlobal(board: string, body: Record<string, unknown>): void {
    if (name !== 'leaderboard' || board !== GLOBAL_BOARD || typeof body['closesAt'] !== 'string') return;
    throw new Problem(
      'INVALID_REQUEST',
      'The global leaderboard has no end: every completion counts on it.',
      { errors: [{ path: 'closesAt', message: 'must be null for the global leaderboard' }] },
    );
  }

  /** Tells every process, and does not answer before this one knows itself. */
  async function published(): Promise<void> {
    await announce(redis, { kind: 'catalog' });
    await catalog.reload();
  }

  const common = { tag: 'Administration', access: 'admin' as const };
  return [
    route({
      ...common,
      method: 'get',
      path,
      operationId: `list${id}Definitions`,
      summary: `List ${name === 'leaderboard' ? 'leaderboards' : 'action types'}, archived ones included`,
      responses: {
        200: {
          description: 'All of them',
          schema: Joi.object({ items: Joi.array().items(schema).required() }),
        },
      },
      problems: [],
      async handle() {
        const rows = await db<Row>(table).orderBy('key');
        return { status: 200, body: { items: (rows as Row[]).map(present) } };
      },
    }),
    route<unknown, unknown, { key: string } & Record<string, unknown>>({
      ...common,
      idempotent: 'optional',
      method: 'post',
      path,
      operationId: `create${id}`,
      summary: `Create ${one}`,
      body: Joi.object({ key: key.required(), ...bodyFields((field) => required.includes(field)) }),
      responses: { 201: { description: 'Created', schema: changedSchema, headers: ['Location'] } },
      problems: ['KEY_TAKEN'],
      async handle(input) {
        const { body } = input;
        const made = await input.once(async (trx) => {
          const [row] = (await trx(table)
            .insert({ key: body.key, ...toColumns(body) })
            .onConflict('key')
            .ignore()
            .returning('*')) as Row[];
          if (!row) {
            throw new Problem(
              'KEY_TAKEN',
              `A ${name} with the key ${body.key} exists. Change it, or choose another key.`,
              {
                errors: [{ path: 'key', message: 'is taken' }],
              },
            );
          }
          await audit(trx, {
            actor: signedIn(input).profile.userId,
            action: `${name}.create`,
            subject: body.key,
            details: body,
          });
          return present(row);
        });
        await published();
        return {
          status: 201,
          body: { ...made, warnings: warnings(body.key) },
          headers: { Location: `/api/v1${path}/${body.key}` },
        };
      },
    }),
    route<{ key: string }, unknown, Record<string, unknown>>({
      ...common,
      idempotent: 'optional',
      method: 'patch',
      path: `${path}/:key`,
      operationId: `update${id}`,
      summary: `Change ${one}`,
      description: 'Holds for actions that start afterwards. Changing an archived one brings it back.',
      params: Joi.object({ key: key.required() }),
      body: Joi.object(bodyFields(() => false)).min(1),
      responses: { 200: { description: 'Changed', schema: changedSchema } },
      problems: [definition.unknown],
      async handle(input) {
        const { params, body } = input;
        refuseEndOfGlobal(params.key, body);
        const changed = await input.once(async (trx) => {
          const [row] = (await trx(table)
            .where({ key: params.key })
            .update({ ...toColumns(body), archived_at: null, updated_at: new Date() })
            .returning('*')) as Row[];
          if (!row) throw notFound();
          // With its end taken away or put off, it goes on from the scores that it had.
          if (name === 'leaderboard' && body['closesAt'] !== undefined && isOpen(body['closesAt']))
            await trx.raw('select open_leaderboard(?)', [params.key]);
          await audit(trx, {
            actor: signedIn(input).profile.userId,
            action: `${name}.update`,
            subject: params.key,
            details: body,
          });
          return present(row);
        });
        await published();
        return { status: 200, body: { ...changed, warnings: warnings(params.key) } };
      },
    }),
    route<{ key: string }>({
      ...common,
      idempotent: 'optional',
      method: 'delete',
      path: `${path}/:key`,
      operationId: `archive${id}`,
      summary: `Archive ${one}`,
      description: 'It takes no new actions and is listed no more. Nothing is deleted.',
      params: Joi.object({ key: key.required() }),
      responses: { 204: { description: 'Archived' } },
      problems: [definition.unknown],
      async handle(input) {
        const { params } = input;
        if (name === 'leaderboard' && params.key === GLOBAL_BOARD) {
          throw new Problem(
            'INVALID_REQUEST',
            'The global leaderboard cannot be archived: every completion counts on it.',
          );
        }
        await input.once(async (trx) => {
          const archived = await trx(table)
            .where({ key: params.key })
            .update({ archived_at: new Date(), updated_at: new Date() });
          if (archived === 0) throw notFound();
          await audit(trx, {
            actor: signedIn(input).profile.userId,
            action: `${name}.archive`,
            subject: params.key,
            details: {},
          });
        });
        await published();
        return { status: 204 };
      },
    }),
  ];
}
