import Joi from 'joi';
import { boardAt, type BoardRef } from '../../common/board/board.ts';
import { mayView, visibleBoard } from '../../common/board/visibility.ts';
import type { Catalog } from '../../common/catalog.ts';
import { spanOf, type Period } from '../../common/periods.ts';
import type { UserDirectory } from '../../common/users/user-directory.ts';
import { Problem } from '../http/problem.ts';
import { route, signedIn, type Caller, type Route } from '../http/route.ts';
import * as schemas from '../http/schemas.ts';
import { decodeCursor, type Boards } from './boards.ts';
import type { Friends } from '../users/friends.ts';

const keyParams = Joi.object({ key: schemas.boardKey.required() });
const integer = (min: number, max: number, fallback: number) =>
  Joi.number().integer().min(min).max(max).default(fallback);
const nullableInstant = schemas.nullable(schemas.instant).required();
const count = Joi.number().integer().min(0);

const aDay = 'a day of the calendar, as 2026-03-02';
const date = Joi.string()
  .pattern(/^\d{4}-\d{2}-\d{2}$/, aDay)
  .custom((value: string, helpers) =>
    Number.isNaN(Date.parse(value)) || new Date(value).toISOString().slice(0, 10) !== value
      ? helpers.error('string.pattern.name', { name: aDay })
      : value,
  )
  .description('a day of the period, YYYY-MM-DD; not with the period all');
/** Periods are told in years of four digits, and none begins before the epoch. */
const LAST_END = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/** The instant that a request is about. @throws INVALID_REQUEST for a date that does not go with the period */
function instantOf(period: Period, day: string | undefined): number {
  if (day === undefined) return Date.now();
  const fault = (message: string): Problem =>
    new Problem('INVALID_REQUEST', `date ${message}.`, { errors: [{ path: 'date', message }] });
  if (period === 'all') throw fault('goes with a daily, weekly or monthly period');
  const { startsAt, endsAt } = spanOf(period, Date.parse(day));
  if (Date.parse(day) < 0 || startsAt < 0 || (endsAt ?? 0) > LAST_END)
    throw fault('must be in a period that begins in 1970 or later and ends before the year 10000');
  return Date.parse(day);
}

const boardSchema = Joi.object({
  leaderboard: schemas.boardKey.required(),
  period: schemas.period.required(),
  periodStart: nullableInstant,
  periodEnd: nullableInstant,
  version: count.description('rises whenever the top 10 changes').required(),
  total: count.required(),
  updatedAt: nullableInstant,
  ...schemas.boardState,
  entries: Joi.array().items(schemas.entry).required(),
  nextCursor: schemas
    .nullable(Joi.string())
    .description('asks for the page behind the last entry')
    .required(),
}).id('Leaderboard');

const friendsSchema = Joi.object({
  leaderboard: schemas.boardKey.required(),
  period: schemas.period.required(),
  periodStart: nullableInstant,
  periodEnd: nullableInstant,
  version: count.required(),
  total: count.description('how many of the friends are on the board, the caller included').required(),
  updatedAt: nullableInstant,
  ...schemas.boardState,
  entries: Joi.array()
    .items(
      schemas.entry
        .keys({ position: Joi.number().integer().min(1).description('the place among friends').required() })
        .id('FriendsEntry'),
    )
    .required(),
}).id('FriendsLeaderboard');

const readProblems = [
  'INVALID_REQUEST',
  'UNAUTHENTICATED',
  'TOKEN_EXPIRED',
  'LEADERBOARD_NOT_FOUND',
  'RATE_LIMITED',
  'UNAVAILABLE',
] as const;

export interface LeaderboardDeps {
  readonly boards: Boards;
  readonly catalog: Catalog;
  readonly directory: UserDirectory;
  readonly friends: Friends;
  readonly publicReads: boolean;
}

export function leaderboardRoutes({
  boards,
  catalog,
  directory,
  friends,
  publicReads,
}: LeaderboardDeps): Route[] {
  /** @returns undefined for a period that the board does not have, and for one that the caller may not see */
  function boardFor(
    key: string,
    period: Period,
    caller: Caller | undefined,
    at: number,
  ): BoardRef | undefined {
    const known = visibleBoard(catalog, key, caller?.identity);
    return known?.periods.includes(period) ? boardAt(key, period, at) : undefined;
  }

  /** As `boardFor`. @throws LEADERBOARD_NOT_FOUND */
  function find(key: string, period: Period, caller: Caller | undefined, at = Date.now()): BoardRef {
    const board = boardFor(key, period, caller, at);
    if (board) return board;
    throw new Problem(
      'LEADERBOARD_NOT_FOUND',
      'There is no such leaderboard, or it does not have this period. GET /leaderboards lists them.',
    );
  }

  const userIn = (userId: string, caller: Caller | undefined): string => {
    if (userId !== 'me') return userId;
    if (!caller)
      throw new Problem('UNAUTHENTICATED', '“me” needs an access token.', {
        headers: { 'WWW-Authenticate': 'Bearer' },
      });
    return caller.profile.userId;
  };

  const shared = publicReads ? 'public' : 'private';

  return [
    route({
      method: 'get',
      path: '/leaderboards',
      operationId: 'listLeaderboards',
      tag: 'Leaderboards',
      summary: 'List leaderboards',
      access: 'reader',
      read: true,
      responses: {
        200: {
          description: 'Every leaderboard, global first',
          schema: Joi.object({
            leaderboards: Joi.array()
              .items(
                Joi.object({
                  key: schemas.boardKey.required(),
                  title: Joi.string().required(),
                  periods: Joi.array().items(schemas.period).required(),
                  scoreCap: count.required(),
                  maxPointsPerUpdate: count.required(),
                  opensAt: nullableInstant,
                  closesAt: nullableInstant,
                }),
              )
              .required(),
          }),
        },
      },
      problems: ['UNAUTHENTICATED', 'TOKEN_EXPIRED', 'RATE_LIMITED'],
      handle: ({ caller }) => {
        const visible = catalog.leaderboards.filter((board) => mayView(board, caller?.identity));
        const leaderboards = visible.map(
          ({ key, title, periods, scoreCap, maxPointsPerUpdate, opensAt, closesAt }) => ({
            key,
            title,
            periods,
            scoreCap,
            maxPointsPerUpdate,
            opensAt: opensAt === null ? null : schemas.iso(opensAt),
            closesAt: closesAt === null ? null : schemas.iso(closesAt),
          }),
        );
        return Promise.resolve({
          status: 200,
          body: { leaderboards },
          headers: { 'Cache-Control': `${shared}, max-age=5` },
        });
      },
    }),
    route<
      { key: string },
      { period: Period; date?: string; limit: number; offset?: number; cursor?: string }
    >({
      method: 'get',
      path: '/leaderboards/:key',
      operationId: 'getLeaderboard',
      tag: 'Leaderboards',
      summary: 'Get a page of a leaderboard',
      description: 'In rank order: score descending, then who reached it first, then user id.',
      access: 'reader',
      read: true,
      params: keyParams,
      query: Joi.object({
        period: schemas.period,
        date,
        limit: integer(1, 100, 10),
        offset: Joi.number().integer().min(0).max(1_000_000_000).description('0 when not given'),
        cursor: Joi.string()
          .max(300)
          .description('`nextCursor` of the page before: neither skips nor repeats while scores change'),
      }).oxor('offset', 'cursor'),
      responses: {
        200: { description: 'The page', schema: boardSchema, headers: ['ETag', 'Cache-Control'] },
        304: { description: 'Not changed since the ETag in If-None-Match', headers: ['ETag'] },
      },
      problems: readProblems,
      async handle({ params, query, caller, header }) {
        const { period, date: day, limit, offset = 0, cursor } = query;
        const board = find(params.key, period, caller, instantOf(period, day));
        const after = cursor === undefined ? undefined : decodeCursor(board, cursor);
        if (cursor !== undefined && !after) {
          throw new Problem(
            'INVALID_REQUEST',
            'cursor is not one that a page of this board, period and date returned.',
            {
              errors: [
                { path: 'cursor', message: 'is not one that a page of this board, period and date returned' },
              ],
            },
          );
        }
        const from = after ? { after } : { offset };
        const page = boards.page(board, from, limit);
        const { body, etag } = await page;
        const headers = {
          ETag: etag,
          'Cache-Control': `${shared}, max-age=1, stale-while-revalidate=5`,
          'Content-Type': 'application/json; charset=utf-8',
        };
        if (matches(header('if-none-match'), etag)) return { status: 304, headers };
        const stillHolds = (): boolean => {
          const at = day === undefined ? Date.now() : Date.parse(day);
          const shown = boardFor(params.key, period, undefined, at);
          return shown !== undefined && boards.freshPage(shown, from, limit) === page;
        };
        return { status: 200, body, headers, stillHolds };
      },
    }),
    route<{ key: string; userId: string }, { period: Period; date?: string; neighbors: number }>({
      method: 'get',
      path: '/leaderboards/:key/users/:userId',
      operationId: 'getStanding',
      tag: 'Leaderboards',
      summary: 'Get the standing of a user',
      description:
        '`me` is the caller. Without a score: `score` 0, `rank` and `percentile` null. `percentile` is the share of the others who stand below.',
      access: 'reader',
      read: true,
      params: keyParams.keys({ userId: schemas.givenUserId.required() }),
      query: Joi.object({
        period: schemas.period,
        date,
        neighbors: integer(0, 25, 0).description('entries on each side of the user'),
      }),
      responses: {
        200: {
          description: 'Rank, score and neighbourhood',
          schema: Joi.object({
            userId: schemas.userId.required(),
            username: Joi.string().required(),
            score: count.required(),
            rank: schemas.nullable(Joi.number().integer().min(1)).required(),
            usersAbove: schemas.nullable(count).required(),
            usersBelow: schemas.nullable(count).required(),
            total: count.required(),
            percentile: schemas.nullable(Joi.number().min(0).max(100)).required(),
            neighbors: Joi.array().items(schemas.entry).required(),
          }).id('Standing'),
        },
      },
      problems: [...readProblems, 'USER_NOT_FOUND'],
      async handle({ params, query, caller }) {
        const board = find(params.key, query.period, caller, instantOf(query.period, query.date));
        const profile = await directory.find(userIn(params.userId, caller));
        if (!profile || profile.erased) throw new Problem('USER_NOT_FOUND', 'There is no user of this id.');
        const standing = await boards.standing(board, profile.userId, query.neighbors);
        return {
          status: 200,
          body: { userId: profile.userId, username: profile.username, ...standing },
          headers: { 'Cache-Control': 'no-store' },
        };
      },
    }),
    route<{ key: string }, { period: Period; limit: number; offset: number }>({
      method: 'get',
      path: '/leaderboards/:key/friends',
      operationId: 'getFriendsLeaderboard',
      tag: 'Leaderboards',
      summary: 'Get the leaderboard of my friends and me',
      description: '`rank` is the rank on the whole board, `position` the place among friends.',
      access: 'player',
      read: true,
      params: keyParams,
      query: Joi.object({
        period: schemas.period,
        limit: integer(1, 100, 10),
        offset: integer(0, 1_000_000_000, 0),
      }),
      responses: { 200: { description: 'The page', schema: friendsSchema } },
      problems: readProblems,
      async handle(input) {
        const { params, query, caller } = input;
        const board = find(params.key, query.period, caller);
        const { userId } = signedIn(input).profile;
        const circle = [userId, ...(await friends.idsOf(userId))];
        const body = await boards.among(board, circle, query.offset, query.limit);
        return { status: 200, body, headers: { 'Cache-Control': 'no-store' } };
      },
    }),
    route<{ key: string }, { period: Period; date?: string }, { userIds: string[] }>({
      method: 'post',
      path: '/leaderboards/:key/ranks',
      operationId: 'getRanks',
      tag: 'Leaderboards',
      summary: 'Get the ranks of many users',
      access: 'reader',
      read: true,
      params: keyParams,
      query: Joi.object({ period: schemas.period, date }),
      body: Joi.object({
        userIds: Joi.array().items(schemas.givenUserId).min(1).max(100).unique().required(),
      }),
      responses: {
        200: {
          description: 'Ranks in the order asked; unknown users are left out',
          schema: Joi.object({
            leaderboard: schemas.boardKey.required(),
            period: schemas.period.required(),
            ranks: Joi.array()
              .items(
                Joi.object({
                  userId: schemas.userId.required(),
                  username: Joi.string().required(),
                  score: count.required(),
                  rank: schemas.nullable(Joi.number().integer().min(1)).required(),
                }),
              )
              .required(),
          }),
        },
      },
      problems: readProblems,
      async handle({ params, query, body, caller }) {
        const board = find(params.key, query.period, caller, instantOf(query.period, query.date));
        const ranks = await boards.ranks(board, body.userIds);
        return {
          status: 200,
          body: { leaderboard: board.leaderboard, period: board.period, ranks },
          headers: { 'Cache-Control': 'no-store' },
        };
      },
    }),
  ];
}

/** Whether an If-None-Match names the tag; weak comparison, as RFC 9110 has it for GET. */
function matches(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  return ifNoneMatch.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag || tag.trim() === '*');
}
