import Joi from 'joi';
import type { CompletionResult } from './events.ts';

/** States of an action. From `completed`, `cancelled` and `rejected` none leads on. */
export const actionStatuses = [
  'started',
  'queued',
  'completed',
  'cancelled',
  'expired',
  'held',
  'rejected',
] as const;
export type ActionStatus = (typeof actionStatuses)[number];

/** A completion, by whose it is and of what: clients make ids of actions, too, and two of them may make the same. */
export interface CompletionName {
  readonly userId: string;
  readonly actionId: string;
}

/** A completion's name as the key of a map. No user id has a space. */
export const nameOf = ({ userId, actionId }: CompletionName): string => `${userId} ${actionId}`;

/**
 * Results outlive every action token that could ask for them again (5 minutes), and not by much: at 3,000 completions a second a
 * minute of them is 100 MB. A client-signed one that comes later is answered from Postgres.
 */
export const RESULT_LIFETIME_S = 330;

/** The value of an action's key while its completion is under way. */
export const PENDING = 'pending';

const rank = Joi.number().integer().allow(null).required();
const resultSchema = Joi.object<CompletionResult>({
  actionId: Joi.string().required(),
  status: Joi.valid('completed').required(),
  leaderboard: Joi.string().required(),
  userId: Joi.string().required(),
  score: Joi.object({
    previous: Joi.number().required(),
    current: Joi.number().required(),
    delta: Joi.number().required(),
  }).required(),
  rank: Joi.object({ previous: rank, current: rank }).required(),
  transactionId: Joi.string().required(),
  completedAt: Joi.string().required(),
}).prefs({ convert: false });

/** A result as Redis keeps it; undefined for anything else. */
export function parseResult(json: string | null): CompletionResult | undefined {
  if (json === null || json === PENDING) return undefined;
  try {
    const { value, error } = resultSchema.validate(JSON.parse(json));
    return error ? undefined : value;
  } catch {
    return undefined;
  }
}
