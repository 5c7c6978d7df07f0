import Joi from 'joi';
import { actionStatuses } from '../../common/actions.ts';
import { periods } from '../../common/periods.ts';
import * as schemas from '../http/schemas.ts';

const text = Joi.string().required();
const maybeText = schemas.nullable(Joi.string()).required();
const instant = schemas.instant.required();
const maybeInstant = schemas.nullable(schemas.instant).required();
const integer = Joi.number().integer().required();
const rank = schemas.nullable(Joi.number().integer().min(1)).required();
const board = {
  leaderboard: schemas.boardKey.required(),
  period: Joi.string()
    .valid(...periods)
    .required(),
  startsAt: instant.description('when the period began'),
};
const score = { score: integer, reachedAt: instant.description('when this score was reached') };
/** With members that are not ours to name. */
const free = Joi.object().unknown(true);
const maybeFree = schemas.nullable(free).required();

const user = Joi.object({
  userId: schemas.userId.required(),
  subject: maybeText.description('`sub` of an outside identity service, where it is not the id'),
  username: text,
  email: maybeText,
  role: Joi.string().valid('player', 'admin').required(),
  avatarUrl: maybeText,
  allowSpectators: Joi.boolean().required(),
  bannedAt: maybeInstant,
  banReason: maybeText,
  erasedAt: maybeInstant,
  createdAt: instant,
  updatedAt: instant,
});

const session = Joi.object({
  sessionId: text,
  userId: schemas.userId.required(),
  createdAt: instant,
  revokedAt: maybeInstant,
  revokedBecause: maybeText,
  userAgent: maybeText,
});

const ledgerEntry = Joi.object({
  transactionId: text,
  kind: Joi.string().valid('completion', 'adjustment', 'rollback').required(),
  actionId: maybeText,
  leaderboard: schemas.boardKey.required(),
  type: maybeText,
  points: integer,
  delta: integer,
  before: integer.description('all-time score before'),
  after: integer.description('all-time score after'),
  globalDelta: integer.description('points added on the global leaderboard'),
  rankPrevious: rank,
  rankCurrent: rank,
  acceptedAt: instant,
  appliedAt: instant,
  reverses: maybeText,
  reason: maybeText,
});

const action = Joi.object({
  actionId: text,
  userId: schemas.userId.required(),
  type: text,
  leaderboard: schemas.boardKey.required(),
  points: integer,
  difficulty: maybeText,
  status: Joi.string()
    .valid(...actionStatuses)
    .required(),
  source: Joi.string().valid('server', 'client').description('who fixed its terms').required(),
  metadata: maybeFree,
  completionMetadata: maybeFree,
  startedAt: instant,
  expiresAt: instant,
  acceptedAt: maybeInstant,
  completedAt: maybeInstant,
  ip: maybeText,
  userAgent: maybeText,
});

/** Everything that is kept of a user, as `GET /users/me/export` answers. */
export const exportSchema = Joi.object({
  exportedAt: instant,
  user: user.required(),
  sessions: Joi.array().items(session).required(),
  scores: Joi.array()
    .items(Joi.object({ ...board, ...score }))
    .required(),
  standings: Joi.array()
    .items(Joi.object({ ...board, endsAt: maybeInstant, rank: Joi.number().integer().required(), ...score }))
    .required(),
  achievements: Joi.array()
    .items(
      Joi.object({ key: text.description('which achievement'), actionId: maybeText, unlockedAt: instant }),
    )
    .required(),
  friends: Joi.array()
    .items(Joi.object({ userId: schemas.userId.required(), since: instant }))
    .required(),
  queuedCompletions: Joi.array()
    .items(
      Joi.object({
        actionId: text,
        payload: free.description('the job that waits').required(),
        acceptedAt: instant,
      }),
    )
    .required(),
  auditLog: Joi.array()
    .items(Joi.object({ id: text, at: instant, action: text, details: free.required() }))
    .required(),
  ledger: Joi.array().items(ledgerEntry).required(),
  actions: Joi.array().items(action).required(),
}).id('Export');
