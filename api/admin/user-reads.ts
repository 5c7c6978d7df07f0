import { isIP } from 'node:net';
import Joi from 'joi';
import type { Knex } from 'knex';
import type { Database } from '../../common/postgres.ts';
import { usernameKey } from '../../common/users/names.ts';
import { Problem } from '../http/problem.ts';
import { route, type Route } from '../http/route.ts';
import * as schemas from '../http/schemas.ts';

const common = { tag: 'Administration', access: 'admin' as const };
const statuses = ['active', 'banned', 'erased', 'admin'] as const;
type Status = (typeof statuses)[number];

const userFields = {
  userId: schemas.userId.required(),
  username: Joi.string().required(),
  email: schemas.nullable(Joi.string()).required(),
  role: Joi.string().valid('player', 'admin').required(),
  ban: schemas
    .nullable(
      Joi.object({ at: schemas.instant.required(), reason: schemas.nullable(Joi.string()).required() }),
    )
    .required(),
  erasedAt: schemas.nullable(schemas.instant).required(),
  createdAt: schemas.instant.required(),
};
const userSchema = Joi.object(userFields).id('AdminUser');
const profileSchema = Joi.object({
  ...userFields,
  avatarUrl: schemas.nullable(Joi.string()).required(),
  allowSpectators: Joi.boolean().required(),
  sessions: Joi.number().integer().min(0).required().description('logins that have not ended'),
  scores: Joi.array()
    .items(
      Joi.object({
        leaderboard: schemas.boardKey.required(),
        period: Joi.string().required(),
        periodStart: schemas.nullable(schemas.instant).required(),
        score: Joi.number().integer().required(),
        reachedAt: schemas.instant.required(),
      }),
    )
    .required()
    .description('on periods that are open'),
}).id('AdminUserDetails');

interface UserRow {
  readonly id: string;
  readonly username: string;
  readonly email: string | null;
  readonly role: string;
  readonly avatar_url: string | null;
  readonly allow_spectators: boolean;
  readonly banned_at: Date | null;
  readonly ban_reason: string | null;
  readonly erased_at: Date | null;
  readonly created_at: Date;
}

const present = (row: UserRow) => ({
  userId: row.id,
  username: row.username,
  email: row.email,
  role: row.role,
  ban: row.banned_at && { at: row.banned_at.toISOString(), reason: row.ban_reason },
  erasedAt: row.erased_at?.toISOString() ?? null,
  createdAt: row.created_at.toISOString(),
});

/** How far back actions are searched for an address, days: an index of addresses would cost every start. */
const ADDRESS_DAYS = 7;

const conditions: Record<Status, (users: Knex.QueryBuilder) => void> = {
  active: (users) => void users.whereNull('banned_at').whereNull('erased_at'),
  banned: (users) => void users.whereNotNull('banned_at'),
  erased: (users) => void users.whereNotNull('erased_at'),
  admin: (users) => void users.where({ role: 'admin' }),
};

/** Text as a pattern of LIKE that contains it. */
const containing = (text: string): string => `%${text.replaceAll(/[\\%_]/g, String.raw`\$&`)}%`;

function matching(db: Database, text: string): (users: Knex.QueryBuilder) => void {
  return (users) =>
    void users
      .where('id', text)
      .orWhereLike('username_key', containing(usernameKey(text)))
      .orWhereLike('email_key', containing(text.toLowerCase()))
      .modify((either: Knex.QueryBuilder) => {
        if (isIP(text) === 0) return;
        void either.orWhereIn(
          'id',
          db('actions')
            .where('ip', text)
            .where('started_at', '>', db.raw('now() - make_interval(days => ?)', [ADDRESS_DAYS]))
            .distinct('user_id'),
        );
      });
}

/** How operators find a player, and what they see of one. */
export function userReadRoutes({ db }: { readonly db: Database }): Route[] {
  return [
    route<unknown, { query?: string; status?: Status; limit: number; cursor?: string }>({
      ...common,
      method: 'get',
      path: '/admin/users',
      operationId: 'findUsers',
      summary: 'Find users',
      description: `\`query\` is part of a name or of an e-mail address, a user id, or the IP address of an action of the last ${ADDRESS_DAYS} days.`,
      query: Joi.object({
        query: Joi.string().trim().min(1).max(255).description('a part of what is looked for'),
        status: Joi.string()
          .valid(...statuses)
          .description('only users of this status'),
        limit: Joi.number().integer().min(1).max(100).default(20).description('users a page'),
        cursor: schemas.givenUserId.description('`nextCursor` of the page before'),
      }),
      responses: {
        200: {
          description: 'A page of users, newest ids first',
          schema: Joi.object({
            users: Joi.array().items(userSchema).required(),
            nextCursor: schemas.nullable(Joi.string()).required(),
          }),
        },
      },
      problems: [],
      async handle({ query: { query, status, limit, cursor } }) {
        const users = db('users')
          .orderBy('id', 'desc')
          .limit(limit + 1);
        if (query !== undefined) void users.where(matching(db, query));
        if (status !== undefined) conditions[status](users);
        if (cursor !== undefined) void users.where('id', '<', cursor);
        const rows = (await users) as UserRow[];
        const page = rows.slice(0, limit);
        return {
          status: 200,
          body: {
            users: page.map(present),
            nextCursor: rows.length > limit ? (page.at(-1)?.id ?? null) : null,
          },
        };
      },
    }),
    route<{ userId: string }>({
      ...common,
      method: 'get',
      path: '/admin/users/:userId',
      operationId: 'getUserAsAdministrator',
      summary: 'Read what is known of a user',
      params: Joi.object({ userId: schemas.givenUserId.required() }),
      responses: { 200: { description: 'Profile, ban, logins and scores', schema: profileSchema } },
      problems: ['USER_NOT_FOUND'],
      async handle({ params: { userId } }) {
        const row = (await db('users').where({ id: userId }).first()) as UserRow | undefined;
        if (!row) throw new Problem('USER_NOT_FOUND', 'There is no user of this id.');
        const [logins, scores] = await Promise.all([
          db('sessions').where({ user_id: userId }).whereNull('revoked_at').count<{ n: string }[]>('* as n'),
          db('scores as s')
            .join('board_periods as b', 'b.id', 's.board_period_id')
            .where('s.user_id', userId)
            .whereNull('b.closed_at')
            .orderBy(['b.leaderboard', 'b.period'])
            .select<
              { leaderboard: string; period: string; starts_at: Date; score: string; reached_at: Date }[]
            >('b.leaderboard', 'b.period', 'b.starts_at', 's.score', 's.reached_at'),
        ]);
        return {
          status: 200,
          body: {
            ...present(row),
            avatarUrl: row.avatar_url,
            allowSpectators: row.allow_spectators,
            sessions: Number(logins[0]?.n ?? 0),
            scores: scores.map(({ leaderboard, period, starts_at: start, score, reached_at: reached }) => ({
              leaderboard,
              period,
              periodStart: period === 'all' ? null : start.toISOString(),
              score: Number(score),
              reachedAt: reached.toISOString(),
            })),
          },
        };
      },
    }),
  ];
}
