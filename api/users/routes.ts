import Joi from 'joi';
import { achievementTitle } from '../../common/achievements.ts';
import { GLOBAL_BOARD } from '../../common/board/board.ts';
import { visibleBoard } from '../../common/board/visibility.ts';
import type { Catalog } from '../../common/catalog.ts';
import type { Identity } from '../../common/identity/access-tokens.ts';
import type { Logger } from '../../common/logger.ts';
import type { Database } from '../../common/postgres.ts';
import type { Queues } from '../../common/queues.ts';
import type { UserDirectory, UserProfile } from '../../common/users/user-directory.ts';
import type { AdmissionControl } from '../admission/admission.ts';
import { Problem } from '../http/problem.ts';
import { route, signedIn, type Caller, type Route } from '../http/route.ts';
import * as schemas from '../http/schemas.ts';
import { givenPassword } from '../identity/schemas.ts';
import type { Sessions } from '../identity/sessions.ts';
import type { PasswordCheck } from '../identity/sign-in.ts';
import type { Users } from '../identity/users.ts';
import { eraseUser } from './erasure.ts';
import { exportSchema } from './export-schema.ts';
import type { Exports } from './exports.ts';
import type { Friends } from './friends.ts';
import { readHistory } from './history.ts';
import { presentUser } from './present.ts';

export interface UserDeps {
  readonly db: Database;
  readonly directory: UserDirectory;
  readonly users: Users;
  readonly friends: Friends;
  readonly catalog: Catalog;
  readonly queues: Queues;
  readonly admission: AdmissionControl;
  /** what is accepted as a user name */
  readonly usernames: Joi.StringSchema;
  /** what is accepted as the address of an avatar */
  readonly avatarUrls: Joi.StringSchema;
  /** the pool of reads, which cannot take the connections that play needs */
  readonly reads: Database;
  readonly exports: Exports;
  readonly log: Logger;
  readonly checkPassword: PasswordCheck;
  readonly sessions: Pick<Sessions, 'openedAt'>;
}

/** How old a login may be that erases an account without its password, milliseconds. A refresh makes it no younger. */
const ERASE_WITHIN_MS = 15 * 60_000;
const noStore = { 'Cache-Control': 'no-store' };
const userParams = Joi.object({ userId: schemas.givenUserId.required() });
const own = schemas.user
  .keys({ email: schemas.nullable(Joi.string()).required(), allowSpectators: Joi.boolean().required() })
  .id('Me');
const readProblems = [
  'INVALID_REQUEST',
  'UNAUTHENTICATED',
  'TOKEN_EXPIRED',
  'USER_NOT_FOUND',
  'RATE_LIMITED',
  'UNAVAILABLE',
] as const;
const writeProblems = ['INVALID_REQUEST', 'RATE_LIMITED', 'UNAVAILABLE'] as const;

export function userRoutes(deps: UserDeps): Route[] {
  const {
    reads,
    exports,
    directory,
    users,
    friends,
    catalog,
    admission,
    usernames,
    checkPassword,
    sessions,
  } = deps;

  /** @throws USER_NOT_FOUND */
  async function known(userId: string, caller?: Caller): Promise<UserProfile> {
    if (userId === 'me') {
      if (!caller)
        throw new Problem('UNAUTHENTICATED', '“me” needs an access token.', {
          headers: { 'WWW-Authenticate': 'Bearer' },
        });
      return caller.profile;
    }
    const profile = await directory.find(userId);
    if (!profile || profile.erased) throw new Problem('USER_NOT_FOUND', 'There is no user of this id.');
    return profile;
  }

  async function isRecent({ userId, sessionId, issuedAt = 0 }: Identity): Promise<boolean> {
    const openedAt = await sessions.openedAt(userId, sessionId);
    return openedAt !== undefined && Date.now() - Math.min(openedAt.getTime(), issuedAt) <= ERASE_WITHIN_MS;
  }

  const presentSelf = async (profile: UserProfile) => ({
    ...presentUser(profile),
    email: await users.email(profile.userId),
    allowSpectators: profile.allowSpectators,
  });

  return [
    route({
      method: 'get',
      path: '/users/me',
      operationId: 'getMe',
      tag: 'Users',
      summary: 'Current user',
      access: 'player',
      read: true,
      responses: { 200: { description: 'The signed-in user', schema: own } },
      problems: readProblems,
      handle: async (input) => ({
        status: 200,
        body: await presentSelf(signedIn(input).profile),
        headers: noStore,
      }),
    }),
    route<unknown, unknown, { username?: string; avatarUrl?: string | null; allowSpectators?: boolean }>({
      method: 'patch',
      path: '/users/me',
      operationId: 'updateMe',
      tag: 'Users',
      summary: 'Change my profile',
      access: 'player',
      openLogin: true,
      body: Joi.object({
        username: usernames,
        avatarUrl: deps.avatarUrls.allow(null),
        allowSpectators: Joi.boolean(),
      }).min(1),
      responses: { 200: { description: 'The changed user', schema: own } },
      problems: [...writeProblems, 'USERNAME_TAKEN'],
      async handle(input) {
        const { userId } = signedIn(input).profile;
        await admission.admit({ kind: 'write', ip: input.ip, userId });
        const profile = await users.update(userId, input.body);
        return { status: 200, body: await presentSelf(profile), headers: noStore };
      },
    }),
    route<unknown, unknown, { password?: string }>({
      method: 'delete',
      path: '/users/me',
      operationId: 'eraseMe',
      tag: 'Users',
      summary: 'Erase my personal data',
      description:
        'For good: name, e-mail address, picture, friends and logins go; sums and archived standings stay under an anonymous name. Needs the password, or a login of the last 15 minutes.',
      access: 'player',
      openLogin: true,
      body: Joi.object({ password: givenPassword }),
      responses: { 204: { description: 'Erased' } },
      problems: [...writeProblems, 'FORBIDDEN', 'BAD_CREDENTIALS'],
      async handle(input) {
        const { identity, profile } = signedIn(input);
        const { userId } = profile;
        await admission.admit({ kind: 'write', ip: input.ip, userId });
        const { password } = input.body;
        if (password !== undefined) await checkPassword(userId, password, input.ip);
        // A token that was stolen must not be enough, where there is something better to ask for.
        else if (!identity.outside && !(await isRecent(identity))) {
          throw new Problem(
            'FORBIDDEN',
            'Erasing needs your password as {"password"}, or a sign-in of the last 15 minutes.',
          );
        }
        await eraseUser(userId, deps);
        return { status: 204 };
      },
    }),
    route({
      method: 'get',
      path: '/users/me/export',
      operationId: 'exportMe',
      tag: 'Users',
      summary: 'Export my data',
      access: 'player',
      openLogin: true,
      read: true,
      responses: {
        200: {
          description: 'Everything that is kept of the caller but credentials',
          headers: ['Content-Disposition'],
          schema: exportSchema,
        },
      },
      problems: readProblems,
      handle: async (input) => ({
        status: 200,
        body: await exports.open(signedIn(input).profile.userId),
        headers: {
          ...noStore,
          'Content-Type': 'application/json; charset=utf-8',
          'Content-Disposition': 'attachment; filename="laurel-export.json"',
        },
      }),
    }),
    route({
      method: 'get',
      path: '/users/me/friends',
      operationId: 'listFriends',
      tag: 'Users',
      summary: 'List my friends',
      access: 'player',
      read: true,
      responses: {
        200: {
          description: 'In the order in which they became so',
          schema: Joi.object({
            friends: Joi.array()
              .items(
                Joi.object({
                  userId: schemas.userId.required(),
                  username: Joi.string().required(),
                  avatarUrl: schemas.nullable(Joi.string()).required(),
                  since: schemas.instant.required(),
                }),
              )
              .required(),
          }),
        },
      },
      problems: readProblems,
      async handle(input) {
        const rows = await friends.of(signedIn(input).profile.userId);
        const profiles = await directory.findMany(rows.map(({ friendId }) => friendId));
        const list = rows.map(({ friendId, since }) => ({
          userId: friendId,
          username: profiles.get(friendId)?.username ?? friendId,
          avatarUrl: profiles.get(friendId)?.avatarUrl ?? null,
          since: since.toISOString(),
        }));
        return { status: 200, body: { friends: list }, headers: noStore };
      },
    }),
    ...(['put', 'delete'] as const).map((method) =>
      route<{ userId: string }>({
        method,
        path: '/users/me/friends/:userId',
        operationId: method === 'put' ? 'addFriend' : 'removeFriend',
        tag: 'Users',
        summary: method === 'put' ? 'Add a friend' : 'Remove a friend',
        description: 'One-way and at once; once more changes nothing.',
        access: 'player',
        params: userParams,
        responses: { 204: { description: 'Done' } },
        problems: [...writeProblems, 'USER_NOT_FOUND'],
        async handle(input) {
          const { userId } = signedIn(input).profile;
          await admission.admit({ kind: 'write', ip: input.ip, userId });
          const friend = await known(input.params.userId);
          await (method === 'put'
            ? friends.add(userId, friend.userId)
            : friends.remove(userId, friend.userId));
          return { status: 204 };
        },
      }),
    ),
    route<{ userId: string }>({
      method: 'get',
      path: '/users/:userId',
      operationId: 'getUser',
      tag: 'Users',
      summary: 'Get a user',
      access: 'reader',
      read: true,
      params: userParams,
      responses: { 200: { description: 'The user', schema: schemas.user } },
      problems: readProblems,
      handle: async ({ params }) => ({ status: 200, body: presentUser(await known(params.userId)) }),
    }),
    route<{ userId: string }, { leaderboard: string; period: string }>({
      method: 'get',
      path: '/users/:userId/history',
      operationId: 'getHistory',
      tag: 'Users',
      summary: 'Score history of a user, day by day',
      description:
        '`score` is the running total at the end of that UTC day, `gain` that day’s gain; `trend` is that of the window’s total gain.',
      access: 'reader',
      read: true,
      params: userParams,
      query: Joi.object({
        leaderboard: schemas.boardKey.default(GLOBAL_BOARD),
        period: Joi.string()
          .pattern(/^([1-9]|[1-9]\d|[12]\d\d|3[0-5]\d|36[0-5])d$/, 'a number of days from 1d to 365d')
          .default('7d')
          .description('1d to 365d'),
      }),
      responses: {
        200: {
          description: 'Every day of the window, today last',
          schema: Joi.object({
            points: Joi.array()
              .items(
                Joi.object({
                  date: Joi.string().required(),
                  score: Joi.number().integer().required(),
                  gain: Joi.number().integer().required(),
                }),
              )
              .required(),
            trend: Joi.string().valid('increasing', 'decreasing', 'flat').required(),
            averageDailyGain: Joi.number().required(),
          }).id('History'),
        },
      },
      problems: [...readProblems, 'LEADERBOARD_NOT_FOUND'],
      async handle({ params, query, caller }) {
        if (!visibleBoard(catalog, query.leaderboard, caller?.identity))
          throw new Problem('LEADERBOARD_NOT_FOUND', 'There is no such leaderboard.');
        const { userId } = await known(params.userId, caller);
        const body = await readHistory(reads, userId, query.leaderboard, Number.parseInt(query.period, 10));
        return { status: 200, body, headers: noStore };
      },
    }),
    route<{ userId: string }>({
      method: 'get',
      path: '/users/:userId/achievements',
      operationId: 'getAchievements',
      tag: 'Users',
      summary: 'List achievements of a user',
      access: 'reader',
      read: true,
      params: userParams,
      responses: {
        200: {
          description: 'Oldest first',
          schema: Joi.object({
            achievements: Joi.array()
              .items(
                Joi.object({
                  key: Joi.string().required(),
                  title: Joi.string().required(),
                  unlockedAt: schemas.instant.required(),
                }),
              )
              .required(),
          }),
        },
      },
      problems: readProblems,
      async handle({ params, caller }) {
        const { userId } = await known(params.userId, caller);
        const rows = await reads<{ user_id: string; key: string; unlocked_at: Date }>('achievements')
          .where({ user_id: userId })
          .orderBy([{ column: 'unlocked_at' }, { column: 'key' }])
          .select('key', 'unlocked_at');
        const achievements = rows.map((row) => ({
          key: row.key,
          title: achievementTitle(row.key),
          unlockedAt: row.unlocked_at.toISOString(),
        }));
        return { status: 200, body: { achievements }, headers: noStore };
      },
    }),
  ];
}
