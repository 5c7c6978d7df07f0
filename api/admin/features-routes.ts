import Joi from 'joi';
import { announce } from '../../common/events.ts';
import { featureKeys, featureSchemas, readFeatures, type FeatureKey } from '../../common/features.ts';
import type { Database } from '../../common/postgres.ts';
import type { Redis } from '../../common/redis.ts';
import { route, signedIn, type Route } from '../http/route.ts';
import { validator } from '../http/validate.ts';
import { audit } from './audit.ts';

const params = Joi.object<{ key: FeatureKey }>({
  key: Joi.string()
    .valid(...featureKeys)
    .required(),
});
const value = Joi.object({
  enabled: Joi.boolean().required(),
  mutedLeaderboards: Joi.array().items(Joi.string()).description('`broadcast` only: boards that stay silent'),
});
const checks = {
  broadcast: validator('body', featureSchemas.broadcast),
  submissions: validator('body', featureSchemas.submissions),
};
const common = { tag: 'Administration', access: 'admin' as const };
const noStore = { 'Cache-Control': 'no-store' };

/** Switches that act within a second in every process: `broadcast`, `submissions`. */
export function featureRoutes({ db, redis }: { readonly db: Database; readonly redis: Redis }): Route[] {
  return [
    route({
      ...common,
      method: 'get',
      path: '/admin/features',
      operationId: 'listFeatures',
      summary: 'List switches',
      responses: {
        200: {
          description: 'By key',
          schema: Joi.object({
            features: Joi.object({ broadcast: value.required(), submissions: value.required() }).required(),
          }),
        },
      },
      problems: ['UNAUTHENTICATED', 'TOKEN_EXPIRED', 'FORBIDDEN', 'UNAVAILABLE'],
      handle: async () => ({ status: 200, body: { features: await readFeatures(db) }, headers: noStore }),
    }),
    route<{ key: FeatureKey }>({
      ...common,
      method: 'get',
      path: '/admin/features/:key',
      operationId: 'getFeature',
      summary: 'Get a switch',
      params,
      responses: { 200: { description: 'As it is', schema: value } },
      problems: ['UNAUTHENTICATED', 'TOKEN_EXPIRED', 'FORBIDDEN', 'INVALID_REQUEST', 'UNAVAILABLE'],
      handle: async ({ params: { key } }) => ({
        status: 200,
        body: (await readFeatures(db))[key],
        headers: noStore,
      }),
    }),
    route<{ key: FeatureKey }>({
      ...common,
      idempotent: 'optional',
      method: 'put',
      path: '/admin/features/:key',
      operationId: 'setFeature',
      summary: 'Set a switch',
      description:
        '`broadcast` {enabled, mutedLeaderboards}: updates of boards, for all or all but some. `submissions` {enabled}: off is read-only mode, in which starting and completing actions answers 503. Acts within a second.',
      params,
      body: Joi.object({ enabled: Joi.boolean(), mutedLeaderboards: Joi.array() }),
      responses: { 200: { description: 'As it is now', schema: value } },
      problems: ['UNAUTHENTICATED', 'TOKEN_EXPIRED', 'FORBIDDEN', 'INVALID_REQUEST', 'UNAVAILABLE'],
      async handle(input) {
        const { key } = input.params;
        const turned = checks[key](input.body) as Record<string, unknown>;
        const actor = signedIn(input).profile.userId;
        await input.once(async (trx) => {
          await trx('features')
            .insert({ key, value: JSON.stringify(turned), updated_by: actor, updated_at: new Date() })
            .onConflict('key')
            .merge();
          await audit(trx, { actor, action: 'feature.set', subject: key, details: turned });
        });
        await announce(redis, { kind: 'features' });
        return { status: 200, body: turned, headers: noStore };
      },
    }),
  ];
}
