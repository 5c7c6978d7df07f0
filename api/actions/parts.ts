import Joi from 'joi';
import { actionStatuses } from '../../common/actions.ts';
import type { Catalog } from '../../common/catalog.ts';
import type { ActionAnnouncer } from '../../common/events.ts';
import type { Clock } from '../../common/clock.ts';
import type { Features } from '../../common/features.ts';
import type { ActionTokens } from '../../common/identity/action-tokens.ts';
import { MAX_METADATA } from '../../common/queues.ts';
import type { AdmissionControl } from '../admission/admission.ts';
import { Problem } from '../http/problem.ts';
import type { Input, Reply, ResponseDoc } from '../http/route.ts';
import * as schemas from '../http/schemas.ts';
import type { Sessions } from '../identity/sessions.ts';
import type { Actions } from './actions.ts';
import type { CompletionAnswer, Completions } from './completions.ts';

/** What the routes of actions work with. */
export interface ActionDeps {
  readonly actions: Actions;
  readonly announcer: ActionAnnouncer;
  readonly completions: Completions;
  readonly admission: AdmissionControl;
  readonly actionTokens: ActionTokens;
  readonly sessions: Sessions;
  readonly catalog: Catalog;
  /** Redis's time, for answers that no script gives */
  readonly clock: Clock;
  readonly features: Features;
  /** lifetime of an action token */
  readonly tokenTtlSeconds: number;
  /** how long a completion is waited for unless the client prefers otherwise */
  readonly waitMs: number;
}

const MAX_WAIT_MS = 30_000;
const RETRY_AFTER_S = 1;
/** Read-only mode is turned on for minutes, not for moments. */
const READ_ONLY_RETRY_S = 30;

const freely = Joi.object().unknown(true);
export const metadata = freely
  .custom((value: unknown, helpers) =>
    Buffer.byteLength(JSON.stringify(value)) > MAX_METADATA
      ? helpers.message({ custom: `must be at most ${MAX_METADATA} bytes as JSON` })
      : value,
  )
  .description('free for the game’s use, at most 1 KB as JSON; `difficulty` picks the type’s multiplier');
export const actionType = Joi.string().max(64).required();
export const actionIdParams = Joi.object({ actionId: Joi.string().max(64).required() });
export const status = Joi.string().valid(...actionStatuses);

export const actionSchema = Joi.object({
  actionId: Joi.string().required(),
  type: Joi.string().required(),
  leaderboard: schemas.boardKey.required(),
  status: status.required(),
  points: Joi.number().integer().min(0).required(),
  startedAt: schemas.instant.required(),
  expiresAt: schemas.instant.required(),
  completedAt: schemas.nullable(schemas.instant).required(),
  result: schemas.completionResult.allow(null).required(),
  metadata: schemas.nullable(freely).required().description('what was sent at the start'),
  completionMetadata: schemas.nullable(freely).required().description('what was sent with the completion'),
}).id('Action');
const queuedSchema = Joi.object({
  actionId: Joi.string().required(),
  status: Joi.string().valid('queued').required(),
  statusUrl: Joi.string().required(),
}).id('QueuedCompletion');
export const completionResponses: Readonly<Record<number, ResponseDoc>> = {
  200: { description: 'It counts', schema: schemas.completionResult },
  202: {
    description: 'It is accepted and will count; ask the status URL',
    schema: queuedSchema,
    headers: ['Location', 'Retry-After'],
  },
};
export const callerProblems = [
  'UNAUTHENTICATED',
  'TOKEN_EXPIRED',
  'USER_BANNED',
  'USER_NOT_FOUND',
  'INVALID_REQUEST',
] as const;
export const completionProblems = [
  ...callerProblems,
  'ACTION_ALREADY_COMPLETED',
  'ACTION_IN_PROGRESS',
  'ACTION_CANCELLED',
  'ACTION_TOO_FAST',
  'LEADERBOARD_CLOSED',
  'ACTION_REJECTED',
  'VERIFICATION_REQUIRED',
  'RATE_LIMITED',
  'UNAVAILABLE',
] as const;

export const statusUrl = (actionId: string): string => `/api/v1/actions/${actionId}`;

export function presentAnswer(actionId: string, answer: CompletionAnswer): Reply {
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

/** @throws UNAVAILABLE in read-only mode */
export function mustBeOpen(features: Features): void {
  if (features.submissions) return;
  throw new Problem('UNAVAILABLE', 'Submissions are switched off by the operator. Try again later.', {
    retryAfter: READ_ONLY_RETRY_S,
  });
}

/** Sets headers of a response, whatever becomes of the request. */
export const setAll =
  (input: Pick<Input, 'setHeader'>) =>
  (headers: Record<string, string>): void =>
    Object.entries(headers).forEach(([name, value]) => input.setHeader(name, value));

export const actionNotFound = (): Problem =>
  new Problem('ACTION_NOT_FOUND', 'You have no action of this id.');
