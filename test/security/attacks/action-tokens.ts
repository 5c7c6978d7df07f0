import { randomUUID } from 'node:crypto';
import { ActionTokens } from '../../../common/identity/action-tokens.ts';
import { call } from '../../support/player.ts';
import { ACCESS_SECRET, ACTION_SECRET, assemble, open, tamper } from '../forge.ts';
import type { Attack, World } from './world.ts';

const actionTokens = new ActionTokens([ACTION_SECRET]);
const complete = (token: (world: World) => unknown, actionId?: (world: World) => string) => (w: World) =>
  call(w.api, 'POST', `/actions/${(actionId ?? ((x) => x.own.actionId))(w)}/complete`, {
    token: w.attacker.token,
    body: { actionToken: token(w) },
  });
const claimsOf = (w: World) => ({
  actionId: w.own.actionId,
  userId: w.attacker.userId,
  type: 'COMPLETE_TASK',
  leaderboard: 'global',
  points: 10,
  startedAt: Date.now() - 1000,
  expiresAt: Date.now() + 60_000,
});

export const actionTokenAttacks: Attack[] = [
  ...['not a token', 'a.b', 'a.b.c', '..', 'a.b.c.d', '%00', '{"alg":"none"}'].map((text): Attack => [
    `${text} as an action token`,
    400,
    'ACTION_TOKEN_MALFORMED',
    complete(() => text),
  ]),
  [
    'payload that is no JSON',
    400,
    'ACTION_TOKEN_MALFORMED',
    complete(() => assemble({ alg: 'HS256', typ: 'JWT' }, 'no JSON', 'x')),
  ],
  [
    'an overlong action token',
    400,
    'ACTION_TOKEN_MALFORMED',
    complete((w) => w.own.actionToken + 'A'.repeat(3000)),
  ],
  [
    'an action token cut off before the signature',
    400,
    'ACTION_TOKEN_MALFORMED',
    complete((w) => w.own.actionToken.split('.').slice(0, 2).join('.')),
  ],
  [
    'an action token cut off by one character',
    403,
    'ACTION_TOKEN_INVALID',
    complete((w) => w.own.actionToken.slice(0, -1)),
  ],
  [
    'an action token without a signature',
    403,
    'ACTION_TOKEN_INVALID',
    complete((w) => `${w.own.actionToken.split('.').slice(0, 2).join('.')}.`),
  ],
  [
    'alg none',
    403,
    'ACTION_TOKEN_INVALID',
    complete((w) => assemble({ alg: 'none' }, { ...open(w.own.actionToken).payload, pts: 100 })),
  ],
  [
    'HS512 by the right secret',
    403,
    'ACTION_TOKEN_INVALID',
    complete((w) => assemble({ alg: 'HS512' }, open(w.own.actionToken).payload, ACTION_SECRET, 'sha512')),
  ],
  [
    'the secret of access tokens',
    403,
    'ACTION_TOKEN_INVALID',
    complete((w) =>
      assemble({ alg: 'HS256' }, { ...open(w.own.actionToken).payload, pts: 100 }, ACCESS_SECRET),
    ),
  ],
  [
    'the attacker’s own signing key',
    403,
    'ACTION_TOKEN_INVALID',
    complete((w) =>
      assemble({ alg: 'HS256' }, { ...open(w.own.actionToken).payload, pts: 100 }, w.attacker.signingKey),
    ),
  ],
  ...Object.entries({
    pts: () => 100,
    sub: (w: World) => w.victim.userId,
    typ: () => 'COMPLETE_MISSION',
    lb: () => 'game1',
    exp: () => 9_999_999_999,
    st: () => 0,
    jti: (w: World) => w.spent.actionId,
    dif: () => 'expert',
    aud: () => 'another',
  } satisfies Record<string, (w: World) => unknown>).map(([claim, value]): Attack => [
    `another ${claim} under the old signature`,
    403,
    'ACTION_TOKEN_INVALID',
    complete((w) => tamper(w.own.actionToken, { [claim]: value(w) })),
  ]),
  [
    'an unknown kid',
    403,
    'ACTION_TOKEN_INVALID',
    complete((w) => tamper(w.own.actionToken, {}, { kid: 'nobody' })),
  ],
  ['an access token as an action token', 403, 'ACTION_TOKEN_INVALID', complete((w) => w.attacker.token)],
  ['one’s own token of another action', 403, 'ACTION_TOKEN_INVALID', complete((w) => w.spent.actionToken)],
  [
    'well signed, but worth more than was written down',
    403,
    'ACTION_TOKEN_INVALID',
    async (w) => {
      const { actionId } = (await w.attacker.start(w.api)).body;
      const token = actionTokens.sign({ ...claimsOf(w), actionId, points: 100 });
      return complete(
        () => token,
        () => actionId,
      )(w);
    },
  ],
  [
    'well signed, for an action that was never started',
    404,
    'ACTION_NOT_FOUND',
    (w) => {
      const actionId = randomUUID();
      return complete(
        () => actionTokens.sign({ ...claimsOf(w), actionId }),
        () => actionId,
      )(w);
    },
  ],
  [
    'expired by one second',
    403,
    'ACTION_TOKEN_EXPIRED',
    complete((w) => actionTokens.sign({ ...claimsOf(w), expiresAt: Date.now() - 1000 })),
  ],
  [
    'the victim’s token',
    403,
    'ACTION_TOKEN_NOT_YOURS',
    complete(
      (w) => w.foreign.actionToken,
      (w) => w.foreign.actionId,
    ),
  ],
  [
    'the token of a cancelled action',
    409,
    'ACTION_CANCELLED',
    complete(
      (w) => w.cancelled.actionToken,
      (w) => w.cancelled.actionId,
    ),
  ],
  [
    'the token of a cancelled action again',
    409,
    'ACTION_CANCELLED',
    complete(
      (w) => w.cancelled.actionToken,
      (w) => w.cancelled.actionId,
    ),
  ],
  [
    'a spent token',
    409,
    'ACTION_ALREADY_COMPLETED',
    complete(
      (w) => w.spent.actionToken,
      (w) => w.spent.actionId,
    ),
  ],
  [
    'points in the body',
    400,
    'INVALID_REQUEST',
    (w) =>
      call(w.api, 'POST', `/actions/${w.own.actionId}/complete`, {
        token: w.attacker.token,
        body: { actionToken: w.own.actionToken, points: 100 },
      }),
  ],
  [
    'points with the start',
    400,
    'INVALID_REQUEST',
    (w) =>
      call(w.api, 'POST', '/actions', {
        token: w.attacker.token,
        body: { type: 'COMPLETE_TASK', points: 100 },
      }),
  ],
  [
    'a difficulty that is none',
    400,
    'INVALID_REQUEST',
    (w) =>
      call(w.api, 'POST', '/actions', {
        token: w.attacker.token,
        body: { type: 'COMPLETE_TASK', metadata: { difficulty: 'toString' } },
      }),
  ],
  [
    'a type that is a property of every object',
    400,
    'UNKNOWN_ACTION_TYPE',
    (w) => call(w.api, 'POST', '/actions', { token: w.attacker.token, body: { type: 'hasOwnProperty' } }),
  ],
  ...[{ $gt: '' }, [], ['x'], 7, null, true, ''].map((value): Attack => [
    `${JSON.stringify(value)} as an action token`,
    400,
    'INVALID_REQUEST',
    complete(() => value),
  ]),
  [
    'reading the victim’s action',
    404,
    'ACTION_NOT_FOUND',
    (w) => call(w.api, 'GET', `/actions/${w.foreign.actionId}`, { token: w.attacker.token }),
  ],
  [
    'cancelling the victim’s action',
    404,
    'ACTION_NOT_FOUND',
    (w) => call(w.api, 'POST', `/actions/${w.foreign.actionId}/cancel`, { token: w.attacker.token }),
  ],
];
