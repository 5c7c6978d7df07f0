import Joi from 'joi';
import { presentAction } from '../../common/action-views.ts';
import { actionStatuses, type ActionStatus } from '../../common/actions.ts';
import { GLOBAL_BOARD } from '../../common/board/board.ts';
import type { ActionType, Catalog, Leaderboard } from '../../common/catalog.ts';
import { ActionAnnouncer } from '../../common/events.ts';
import type { Features } from '../../common/features.ts';
import { tokenHash, type ActionTokens } from '../../common/identity/action-tokens.ts';
import { newId, uuidPattern } from '../../common/ids.ts';
import type { Redis } from '../../common/redis.ts';
import type { AdmissionControl } from '../admission/admission.ts';
import { Problem, unavailable } from '../http/problem.ts';
import { route, signedIn, type Input, type Reply, type Route } from '../http/route.ts';
import * as schemas from '../http/schemas.ts';
import type { Sessions } from '../identity/sessions.ts';
import type { Actions } from './actions.ts';
import { alreadyCompleted, type CompletionAnswer, type Completions } from './completions.ts';

export interface ActionDeps {
  readonly actions: Actions;
  readonly completions: Completions;
  readonly admission: AdmissionControl;
  readonly actionTokens: ActionTokens;
  readonly sessions: Sessions;
  readonly catalog: Catalog;
  readonly features: Features;
  readonly redis: Redis;
  /** lifetime of an action token */
  readonly tokenTtlSeconds: number;
  /** how long a completion is waited for unless the client prefers otherwise */
  readonly waitMs: number;
}

const TIMESTAMP_TOLERANCE_MS = 300_000;
const MAX_WAIT_MS = 30_000;
const RETRY_AFTER_S = 1;
/** Read-only mode is turned on for minutes, not for moments. */
const READ_ONLY_RETRY_S = 30;

const metadata = Joi.object()
  .unknown(true)
  .description('free for the game’s use; `difficulty` picks the type’s multiplier');
const actionType = Joi.string().max(64).required();
const actionIdParams = Joi.object({ actionId: Joi.string().max(64).required() });
const status = Joi.string().valid(...actionStatuses);

const startedSchema = Joi.object({
  actionId: Joi.string().required(),
  type: Joi.string().required(),
  leaderboard: schemas.boardKey.required(),
  status: Joi.string().valid('started').required(),
  points: Joi.number().integer().min(0).required(),
  actionToken: Joi.string().required(),
  startedAt: schemas.instant.required(),
  expiresAt: schemas.instant.required(),
});
const actionSchema = Joi.object({
  actionId: Joi.string().required(),
  type: Joi.string().required(),
  leaderboard: schemas.boardKey.required(),
  status: status.required(),
  points: Joi.number().integer().min(0).required(),
  startedAt: schemas.instant.required(),
  expiresAt: schemas.instant.required(),
  completedAt: schemas.nullable(schemas.instant).required(),
  result: schemas.completionResult.allow(null).required(),
}).id('Action');
const queuedSchema = Joi.object({
  actionId: Joi.string().required(),
  status: Joi.string().valid('queued').required(),
  statusUrl: Joi.string().required(),
});
const completionResponses = {
  200: { description: 'It counts', schema: schemas.completionResult },
  202: { description: 'It is accepted and will count; ask the status URL', schema: queuedSchema },
};
const callerProblems = [
  'UNAUTHENTICATED',
  'TOKEN_EXPIRED',
  'USER_BANNED',
  'USER_NOT_FOUND',
  'INVALID_REQUEST',
] as const;
const completionProblems = [
  ...callerProblems,
  'ACTION_ALREADY_COMPLETED',
  'ACTION_IN_PROGRESS',
  'ACTION_CANCELLED',
  'ACTION_REJECTED',
  'VERIFICATION_REQUIRED',
  'RATE_LIMITED',
  'UNAVAILABLE',
] as const;

const statusUrl = (actionId: string): string => `/api/v1/actions/${actionId}`;

function presentAnswer(actionId: string, answer: CompletionAnswer): Reply {
  if ('result' in answer)
    return { status: 200, body: answer.result, headers: { 'Cache-Control': 'no-store' } };
  return {
    status: 202,
    body: { actionId, status: 'queued', statusUrl: statusUrl(actionId) },
    headers: { Location: statusUrl(actionId), 'Retry-After': String(RETRY_AFTER_S) },
  };
}

/** How long a client wants to wait (RFC 7240): `Prefer: respond-async`, or `Prefer: wait=<seconds>`, up to 30. */
export function preferredWait(prefer: string | undefined, fallbackMs: number): number {
  for (const preference of (prefer ?? '').split(/[,;]/)) {
    const [name, value] = preference.trim().toLowerCase().split('=');
    if (name === 'respond-async') return 0;
    if (name === 'wait' && value !== undefined && /^\d{1,6}$/.test(value.trim()))
      return Math.min(Number(value) * 1000, MAX_WAIT_MS);
  }
  return fallbackMs;
}

export function actionRoutes(deps: ActionDeps): Route[] {
  const { actions, completions, admission, actionTokens, sessions, catalog } = deps;
  const announcer = new ActionAnnouncer(deps.redis);

  /** What an action is worth here and now, by the server's own rules. @throws UNKNOWN_ACTION_TYPE, UNKNOWN_LEADERBOARD, INVALID_REQUEST */
  function price(
    typeKey: string,
    board: string,
    difficulty: unknown,
  ): { type: ActionType; leaderboard: Leaderboard; points: number; difficulty: string | null } {
    const type = catalog.actionType(typeKey);
    if (!type)
      throw new Problem('UNKNOWN_ACTION_TYPE', `There is no action type ${JSON.stringify(typeKey)}.`);
    const leaderboard = catalog.leaderboard(board);
    const now = Date.now();
    if (!leaderboard || (type.leaderboards && !type.leaderboards.includes(board))) {
      throw new Problem(
        'UNKNOWN_LEADERBOARD',
        `There is no leaderboard ${JSON.stringify(board)} for this action. GET /leaderboards lists them.`,
      );
    }
    if ((leaderboard.opensAt ?? 0) > now || (leaderboard.closesAt ?? Infinity) <= now) {
      throw new Problem('UNKNOWN_LEADERBOARD', `The leaderboard ${JSON.stringify(board)} is not open now.`);
    }
    if (difficulty === undefined) return { type, leaderboard, points: type.points, difficulty: null };
    if (typeof difficulty !== 'string' || !Object.hasOwn(type.difficulties, difficulty)) {
      const known = Object.keys(type.difficulties).join(', ') || 'none';
      throw new Problem('INVALID_REQUEST', `metadata.difficulty must be one of: ${known}.`, {
        errors: [{ path: 'metadata.difficulty', message: `must be one of: ${known}` }],
      });
    }
    const multiplier = type.difficulties[difficulty] ?? 1;
    return {
      type,
      leaderboard,
      points: Math.min(Math.round(type.points * multiplier), leaderboard.maxPointsPerUpdate),
      difficulty,
    };
  }

  const tooFast = (type: ActionType | undefined, startedAt: number): void => {
    const wait = (type?.minDurationMs ?? 0) - (Date.now() - startedAt);
    if (wait > 0) {
      throw new Problem(
        'ACTION_TOO_FAST',
        `This action takes at least ${type?.minDurationMs ?? 0} ms. Complete it when it is done.`,
        {
          retryAfter: wait / 1000,
        },
      );
    }
  };

  /** @throws UNAVAILABLE in read-only mode */
  const mustBeOpen = (): void => {
    if (deps.features.submissions) return;
    throw new Problem('UNAVAILABLE', 'Submissions are switched off by the operator. Try again later.', {
      retryAfter: READ_ONLY_RETRY_S,
    });
  };

  const setAll = (input: Input) => (headers: Record<string, string>) =>
    Object.entries(headers).forEach(([name, value]) => input.setHeader(name, value));

  const start = route<
    unknown,
    unknown,
    { type: string; leaderboard: string; metadata?: Record<string, unknown> }
  >({
    method: 'post',
    path: '/actions',
    operationId: 'startAction',
    tag: 'Actions',
    summary: 'Start an action',
    description: 'The server fixes what it is worth, and signs a single-use token for completing it.',
    access: 'player',
    sacrifice: 'start',
    body: Joi.object({
      type: actionType,
      leaderboard: schemas.boardKey.min(1).default(GLOBAL_BOARD),
      metadata,
    }),
    responses: { 201: { description: 'Started', schema: startedSchema } },
    problems: [
      ...callerProblems,
      'UNKNOWN_ACTION_TYPE',
      'UNKNOWN_LEADERBOARD',
      'RATE_LIMITED',
      'TOO_MANY_OPEN_ACTIONS',
      'UNAVAILABLE',
    ],
    async handle(input) {
      mustBeOpen();
      const { userId } = signedIn(input).profile;
      const { body, ip, userAgent } = input;
      const { type, leaderboard, points, difficulty } = price(
        body.type,
        body.leaderboard,
        body.metadata?.['difficulty'],
      );
      const actionId = newId();
      const ttlMs = deps.tokenTtlSeconds * 1000;
      const admitted = await admission.admit({ kind: 'start', ip, userId, actionId, holdMs: ttlMs });
      if (admitted.admitted) setAll(input)(admitted.headers);
      const startedAt = Date.now();
      // A token's life is counted in whole seconds.
      const expiresAt = Math.floor((startedAt + ttlMs) / 1000) * 1000;
      const terms = { type: type.key, leaderboard: leaderboard.key, points, startedAt, expiresAt };
      const actionToken = actionTokens.sign({
        actionId,
        userId,
        ...terms,
        ...(difficulty !== null && { difficulty }),
      });
      try {
        await actions.start({
          id: actionId,
          userId,
          ...terms,
          difficulty,
          metadata: body.metadata ?? null,
          tokenHash: tokenHash(actionToken),
          ip,
          userAgent,
        });
      } catch (error) {
        await admission.closeAction(userId, actionId).catch(() => undefined);
        throw unavailable('The action cannot be written down right now.', error);
      }
      announcer.announce({
        kind: 'action',
        userId,
        actionId,
        type: type.key,
        status: 'started',
        at: startedAt,
      });
      return {
        status: 201,
        headers: { Location: statusUrl(actionId), 'Cache-Control': 'no-store' },
        body: {
          actionId,
          type: type.key,
          leaderboard: leaderboard.key,
          status: 'started',
          points,
          actionToken,
          startedAt: schemas.iso(startedAt),
          expiresAt: schemas.iso(expiresAt),
        },
      };
    },
  });

  const complete = route<
    { actionId: string },
    unknown,
    { actionToken: string; metadata?: Record<string, unknown> }
  >({
    method: 'post',
    path: '/actions/:actionId/complete',
    operationId: 'completeAction',
    tag: 'Actions',
    summary: 'Complete an action',
    description:
      'Counts exactly once. A replay is answered 409 with the first result. `Prefer: wait=<seconds>` or `respond-async` set how long to wait before 202.',
    access: 'player',
    sacrifice: 'completion',
    params: actionIdParams,
    body: Joi.object({ actionToken: Joi.string().required(), metadata }),
    responses: completionResponses,
    problems: [
      ...completionProblems,
      'ACTION_TOKEN_MALFORMED',
      'ACTION_TOKEN_INVALID',
      'ACTION_TOKEN_EXPIRED',
      'ACTION_TOKEN_NOT_YOURS',
      'ACTION_TOO_FAST',
      'ACTION_NOT_FOUND',
    ],
    async handle(input) {
      mustBeOpen();
      const { userId } = signedIn(input).profile;
      const { params, body, ip, userAgent } = input;
      const claims = actionTokens.verify(body.actionToken);
      if (claims === 'ACTION_TOKEN_MALFORMED')
        throw new Problem(
          claims,
          'The action token is not a token. Send the one that starting the action returned.',
        );
      if (
        claims === 'ACTION_TOKEN_INVALID' ||
        (claims.userId === userId && claims.actionId !== params.actionId)
      ) {
        throw new Problem('ACTION_TOKEN_INVALID', 'The action token was not signed for this action.');
      }
      if (claims.expiresAt <= Date.now())
        throw new Problem('ACTION_TOKEN_EXPIRED', 'The action token has expired. Start the action again.');
      if (claims.userId !== userId)
        throw new Problem('ACTION_TOKEN_NOT_YOURS', 'The action was started by another user.');
      tooFast(catalog.actionType(claims.type), claims.startedAt);
      const answer = await completions.complete(
        { actionId: params.actionId, userId, tokenHash: tokenHash(body.actionToken), ip, userAgent },
        preferredWait(input.header('prefer'), deps.waitMs),
        setAll(input),
      );
      return presentAnswer(params.actionId, answer);
    },
  });

  const completeSigned = route<
    unknown,
    unknown,
    { actionId: string; type: string; leaderboard?: string; timestamp: string; signature: string }
  >({
    method: 'post',
    path: '/completions',
    operationId: 'completeSigned',
    tag: 'Actions',
    summary: 'Complete an action that the client signed',
    description:
      'For games that cannot call home first. `signature` is the hex HMAC-SHA256, with the login’s `signingKey` as UTF-8 text, of actionId.type.leaderboard.timestamp joined by full stops.',
    access: 'player',
    sacrifice: 'signed_completion',
    body: Joi.object({
      actionId: Joi.string().pattern(uuidPattern).required(),
      type: actionType,
      leaderboard: schemas.boardKey.min(1),
      timestamp: Joi.string().isoDate().max(40).required(),
      signature: Joi.string().hex().length(64).required(),
    }),
    responses: completionResponses,
    problems: [
      ...completionProblems,
      'UNKNOWN_ACTION_TYPE',
      'UNKNOWN_LEADERBOARD',
      'SIGNATURE_INVALID',
      'TIMESTAMP_OUT_OF_RANGE',
      'ACTION_ID_TAKEN',
    ],
    async handle(input) {
      mustBeOpen();
      const { identity, profile } = signedIn(input);
      const { body, ip, userAgent } = input;
      const board = body.leaderboard ?? GLOBAL_BOARD;
      const { type, leaderboard, points, difficulty } = price(body.type, board, undefined);
      const text = [body.actionId, body.type, board, body.timestamp].join('.');
      let genuine: boolean;
      try {
        genuine = await sessions.verifySignature(profile.userId, identity.sessionId, text, body.signature);
      } catch (error) {
        throw unavailable('The signature cannot be checked right now.', error);
      }
      if (!genuine)
        throw new Problem(
          'SIGNATURE_INVALID',
          'The signature was not made with the signing key of this login.',
        );
      if (!(Math.abs(Date.now() - Date.parse(body.timestamp)) <= TIMESTAMP_TOLERANCE_MS)) {
        throw new Problem(
          'TIMESTAMP_OUT_OF_RANGE',
          'The timestamp must be within 5 minutes of the server’s time.',
        );
      }
      const actionId = body.actionId.toLowerCase();
      // Refused before it is queued: a job of this id would stand in the way of the action's own completion.
      if (await actions.isTaken(profile.userId, actionId))
        throw new Problem('ACTION_ID_TAKEN', 'Another action has this id. Use a new one.');
      const answer = await completions.complete(
        {
          actionId,
          userId: profile.userId,
          tokenHash: null,
          ip,
          userAgent,
          client: {
            type: type.key,
            leaderboard: leaderboard.key,
            points,
            ...(difficulty !== null && { difficulty }),
          },
        },
        preferredWait(input.header('prefer'), deps.waitMs),
        setAll(input),
      );
      return presentAnswer(actionId, answer);
    },
  });

  const notFound = (): Problem => new Problem('ACTION_NOT_FOUND', 'You have no action of this id.');

  const cancel = route<{ actionId: string }>({
    method: 'post',
    path: '/actions/:actionId/cancel',
    operationId: 'cancelAction',
    tag: 'Actions',
    summary: 'Cancel an action',
    access: 'player',
    params: actionIdParams,
    responses: { 200: { description: 'Cancelled, now or before', schema: actionSchema } },
    problems: [
      ...callerProblems,
      'ACTION_NOT_FOUND',
      'ACTION_ALREADY_COMPLETED',
      'ACTION_IN_PROGRESS',
      'ACTION_REJECTED',
      'RATE_LIMITED',
      'UNAVAILABLE',
    ],
    async handle(input) {
      const { userId } = signedIn(input).profile;
      const { actionId } = input.params;
      await admission.admit({ kind: 'write', ip: input.ip });
      const outcome = await actions.cancel(userId, actionId);
      if (!outcome) throw notFound();
      const { action, cancelled } = outcome;
      if (action.status === 'completed' && action.result) throw alreadyCompleted(action.result);
      if (action.status === 'queued' || action.status === 'held') {
        throw new Problem(
          'ACTION_IN_PROGRESS',
          'The action is being completed and cannot be cancelled any more.',
        );
      }
      if (action.status === 'rejected') throw new Problem('ACTION_REJECTED', 'The action was rejected.');
      if (cancelled) {
        await admission.closeAction(userId, actionId).catch(() => undefined);
        announcer.announce({
          kind: 'action',
          userId,
          actionId,
          type: action.type,
          status: 'cancelled',
          at: Date.now(),
        });
      }
      return { status: 200, body: presentAction(action), headers: { 'Cache-Control': 'no-store' } };
    },
  });

  const read = route<{ actionId: string }>({
    method: 'get',
    path: '/actions/:actionId',
    operationId: 'getAction',
    tag: 'Actions',
    summary: 'An action of one’s own',
    access: 'player',
    read: true,
    params: actionIdParams,
    responses: { 200: { description: 'Its status, and its result once it has one', schema: actionSchema } },
    problems: [...callerProblems, 'ACTION_NOT_FOUND', 'RATE_LIMITED', 'UNAVAILABLE'],
    async handle(input) {
      const action = await actions.find(signedIn(input).profile.userId, input.params.actionId);
      if (!action) throw notFound();
      return { status: 200, body: presentAction(action), headers: { 'Cache-Control': 'no-store' } };
    },
  });

  const list = route<unknown, { status?: ActionStatus; limit: number; cursor?: string }>({
    method: 'get',
    path: '/actions',
    operationId: 'listActions',
    tag: 'Actions',
    summary: 'One’s own actions, newest first',
    access: 'player',
    read: true,
    query: Joi.object({
      status,
      limit: Joi.number().integer().min(1).max(100).default(20),
      cursor: Joi.string().pattern(uuidPattern).description('`nextCursor` of the page before'),
    }),
    responses: {
      200: {
        description: 'A page of actions',
        schema: Joi.object({
          actions: Joi.array().items(actionSchema).required(),
          nextCursor: schemas.nullable(Joi.string()).required(),
        }),
      },
    },
    problems: [...callerProblems, 'RATE_LIMITED', 'UNAVAILABLE'],
    async handle(input) {
      const { status: wanted, limit, cursor } = input.query;
      const page = await actions.list(signedIn(input).profile.userId, wanted, limit, cursor);
      const last = page.at(-1);
      return {
        status: 200,
        body: {
          actions: page.map(presentAction),
          nextCursor: page.length === limit && last ? last.id : null,
        },
        headers: { 'Cache-Control': 'no-store' },
      };
    },
  });

  return [start, list, read, complete, cancel, completeSigned];
}
