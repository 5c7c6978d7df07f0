import Joi from 'joi';
import { period } from '../http/schemas.ts';
import * as schemas from '../http/schemas.ts';
import type { Components, Json } from './json-schema.ts';
import { exampleOf } from './examples.ts';

const count = Joi.number().integer().min(0);
const nullableInstant = schemas.nullable(schemas.instant).required();
const nullableRank = schemas.nullable(Joi.number().integer().min(1)).required();
const entries = Joi.array().items(schemas.entry).required().description('the top 10');

const snapshot = Joi.object({
  leaderboard: schemas.boardKey.required(),
  period: period.required(),
  periodStart: nullableInstant,
  periodEnd: nullableInstant,
  version: count.required(),
  total: count.required(),
  updatedAt: nullableInstant,
  ...schemas.boardState,
  entries,
})
  .id('LeaderboardSnapshot')
  .description('the board as it stands');

const update = Joi.object({
  type: Joi.string().valid('LEADERBOARD_REFRESH').required(),
  leaderboard: schemas.boardKey.required(),
  period: period.required(),
  version: count.required(),
  previousVersion: count
    .required()
    .description(
      'version of the update before; a client that has another one missed an update, and reads anew',
    ),
  timestamp: schemas.instant.required(),
  total: count.required(),
  changes: Joi.array()
    .items(
      Joi.object({
        userId: schemas.userId.required(),
        username: Joi.string().required(),
        oldRank: nullableRank.description('null: was not on the board'),
        newRank: Joi.number().integer().min(1).required(),
        score: Joi.number().integer().required(),
        delta: Joi.number().integer().required(),
      }),
    )
    .required()
    .description('one entry for each user who scored since the update before'),
  entries,
  keyId: Joi.string().description('names the signing key, where the installation signs updates'),
  signature: Joi.string().description('hex HMAC-SHA256, where the installation signs updates'),
})
  .id('LeaderboardUpdate')
  .description('what changed since the update before, and the top 10 as it is now');

/** The event stream of a board: the live tier serves it, so it is no route of this tier. */
export function streamOperation(components: Components): {
  readonly parameters: Json[];
  readonly content: Json;
  readonly events: Json;
} {
  const events = {
    'leaderboard:snapshot': components.from(snapshot, 'output'),
    'leaderboard:update': components.from(update, 'output'),
  };
  const data = exampleOf(events['leaderboard:snapshot'], components) as { version: number };
  return {
    parameters: [
      {
        name: 'key',
        in: 'path',
        required: true,
        description: 'key of a leaderboard; case-sensitive',
        schema: { type: 'string', maxLength: 64 },
        example: 'game1',
      },
      {
        name: 'period',
        in: 'query',
        required: false,
        description: 'UTC; weeks are ISO weeks',
        schema: components.from(period, 'input'),
        example: 'weekly',
      },
      {
        name: 'Last-Event-ID',
        in: 'header',
        required: false,
        description: 'id of the last event that was read; where it is current, no snapshot is sent',
        schema: { type: 'string' },
        example: '42',
      },
    ],
    content: {
      'text/event-stream': {
        schema: { type: 'string', description: 'events, each with a name, an id and JSON as its data' },
        example: `event: leaderboard:snapshot\nid: ${data.version}\ndata: ${JSON.stringify(data)}\n\n`,
      },
    },
    events,
  };
}
