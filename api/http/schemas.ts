import Joi from 'joi';
import { boardStates } from '../../common/board/board-state.ts';
import { userIdPattern, uuidPattern } from '../../common/ids.ts';
import { periods } from '../../common/periods.ts';

/** Parts of requests and responses that several routes share. */
export const userId = Joi.string().description('UUIDv7, or the subject of an outside identity service');
/** One that a request names. */
export const givenUserId = Joi.string().pattern(
  userIdPattern,
  'the id of a user: 1 to 128 letters, digits or _ . : @ | + = -, the first a letter or digit',
);
export const uuid = Joi.string().pattern(uuidPattern, 'a UUID');
export const boardKey = Joi.string().max(64).description('a leaderboard’s key; case-sensitive');
export const instant = Joi.string().isoDate().description('ISO 8601, UTC, milliseconds');
export const period = Joi.string()
  .valid(...periods)
  .default('all')
  .description('UTC; weeks are ISO weeks');
/** A value of one kind, or null. (In JSON Schema a list of allowed values must name null too.) */
export const nullable = (schema: Joi.Schema): Joi.Schema => schema.allow(null);

export const user = Joi.object({
  userId: userId.required(),
  username: Joi.string().required(),
  avatarUrl: nullable(Joi.string()).required(),
  role: Joi.string().valid('player', 'admin').required(),
  createdAt: instant.required(),
}).id('User');

export const entry = Joi.object({
  rank: Joi.number().integer().min(1).required(),
  userId: userId.required(),
  username: Joi.string().required(),
  avatarUrl: nullable(Joi.string()).required(),
  score: Joi.number().integer().required(),
  updatedAt: instant.required(),
}).id('Entry');

const rank = nullable(Joi.number().integer().min(1)).required();
export const completionResult = Joi.object({
  actionId: Joi.string().required(),
  status: Joi.string().valid('completed').required(),
  leaderboard: boardKey.required(),
  userId: userId.required(),
  score: Joi.object({
    previous: Joi.number().integer().required(),
    current: Joi.number().integer().required(),
    delta: Joi.number().integer().required(),
  }).required(),
  rank: Joi.object({ previous: rank, current: rank }).required(),
  transactionId: Joi.string().required(),
  completedAt: instant.required(),
}).id('CompletionResult');

export const iso = (ms: number): string => new Date(ms).toISOString();

/** Whether a board is open, of every answer that shows one. */
export const boardState = {
  state: Joi.string()
    .valid(...boardStates)
    .description('open, closing (being frozen), closed (by an operator), archived (frozen)')
    .example('open')
    .required(),
  closedAt: nullable(instant).description('from when on nothing counts; null while it is open').required(),
  correctedAt: nullable(instant).description('when the frozen standings were last corrected').required(),
};
