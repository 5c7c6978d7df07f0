import { randomUUID } from 'node:crypto';
import { call } from '../../support/player.ts';
import { accessToken, ACCESS_SECRET, assemble, IdentityService, open, tamper } from '../forge.ts';
import type { Attack, World } from './world.ts';

const me = (token: (world: World) => string) => (w: World) =>
  call(w.api, 'GET', '/users/me', { token: token(w) });

export const accessTokenAttacks: Attack[] = [
  ['no token', 401, 'UNAUTHENTICATED', (w) => call(w.api, 'GET', '/users/me')],
  ...['none', 'None', 'nOnE', 'NONE'].map((alg): Attack => [
    `alg ${alg}`,
    401,
    'UNAUTHENTICATED',
    me((w) => assemble({ alg, typ: 'JWT' }, open(w.victim.token).payload)),
  ]),
  [
    'alg none, with the old signature left on',
    401,
    'UNAUTHENTICATED',
    me((w) => tamper(w.attacker.token, { sub: w.victim.userId }, { alg: 'none' })),
  ],
  ...(['pem', 'der', 'jwk'] as const).map((form): Attack => [
    `HS256 with the public key (${form}) as the secret`,
    401,
    'UNAUTHENTICATED',
    me((w) => {
      const { publicKey } = w.identity.keys.get('first')!;
      const secret =
        form === 'jwk'
          ? JSON.stringify(publicKey.export({ format: 'jwk' }))
          : publicKey.export({ format: form, type: 'spki' } as { format: 'pem'; type: 'spki' });
      return assemble({ alg: 'HS256', typ: 'JWT', kid: 'first' }, open(w.victim.token).payload, secret);
    }),
  ]),
  ...['HS384', 'HS512'].map((alg): Attack => [
    `${alg} by the right secret`,
    401,
    'UNAUTHENTICATED',
    me((w) =>
      assemble({ alg, typ: 'JWT' }, open(w.attacker.token).payload, ACCESS_SECRET, alg.replace('HS', 'sha')),
    ),
  ]),
  [
    'RS256 in the header of an HMAC',
    401,
    'UNAUTHENTICATED',
    me((w) => assemble({ alg: 'RS256', kid: 'first' }, open(w.victim.token).payload, ACCESS_SECRET)),
  ],
  [
    'a key of one’s own under a known kid',
    401,
    'UNAUTHENTICATED',
    me((w) => {
      const rogue = new IdentityService();
      rogue.addKey('first');
      return rogue.sign('first', { sub: w.victim.userId });
    }),
  ],
  [
    'a key of one’s own, sent along as jwk and jku',
    401,
    'UNAUTHENTICATED',
    me((w) => {
      const rogue = new IdentityService();
      rogue.addKey('rogue');
      const { publicKey } = rogue.keys.get('rogue')!;
      const header = {
        alg: 'RS256',
        kid: 'rogue',
        jku: w.identity.url,
        jwk: publicKey.export({ format: 'jwk' }),
      };
      return rogue.sign('rogue', { sub: w.victim.userId }, { header: header as never });
    }),
  ],
  ...["' OR 1=1 --", '../../../../dev/null', '\u0000', '__proto__', 'constructor', ''].map((kid): Attack => [
    `kid ${JSON.stringify(kid)} and an empty secret`,
    401,
    'UNAUTHENTICATED',
    me((w) => assemble({ alg: 'HS256', kid }, open(w.victim.token).payload, '')),
  ]),
  [
    'a kid that nobody has',
    401,
    'UNAUTHENTICATED',
    me((w) => tamper(w.identity.sign('first', { sub: w.attacker.userId }), {}, { kid: 'nobody' })),
  ],
  [
    'another’s id as sub',
    401,
    'UNAUTHENTICATED',
    me((w) => tamper(w.attacker.token, { sub: w.victim.userId })),
  ],
  [
    'a role of one’s own choice',
    401,
    'UNAUTHENTICATED',
    me((w) => tamper(w.attacker.token, { role: 'admin' })),
  ],
  ['a later expiry', 401, 'UNAUTHENTICATED', me((w) => tamper(w.attacker.token, { exp: 9_999_999_999 }))],
  ['another login', 401, 'UNAUTHENTICATED', me((w) => tamper(w.attacker.token, { sid: randomUUID() }))],
  [
    'expired, and past the leeway of 5 s',
    401,
    'TOKEN_EXPIRED',
    me((w) => accessToken({ sub: w.attacker.userId, exp: Math.floor(Date.now() / 1000) - 6 })),
  ],
  [
    'not valid yet',
    401,
    'UNAUTHENTICATED',
    me((w) => accessToken({ sub: w.attacker.userId, nbf: Math.floor(Date.now() / 1000) + 60 })),
  ],
  ['without sub', 401, 'UNAUTHENTICATED', me(() => accessToken({}))],
  [
    'without exp',
    401,
    'UNAUTHENTICATED',
    me((w) => assemble({ alg: 'HS256' }, { sub: w.attacker.userId }, ACCESS_SECRET)),
  ],
  [
    'sub that is an object',
    401,
    'UNAUTHENTICATED',
    me(() => assemble({ alg: 'HS256' }, { sub: { $ne: null }, exp: 9_999_999_999 }, ACCESS_SECRET)),
  ],
  ['sub with a separator of Redis keys', 404, 'USER_NOT_FOUND', me(() => accessToken({ sub: '{x}:limit' }))],
  ['sub with NUL', 404, 'USER_NOT_FOUND', me(() => accessToken({ sub: 'x\u0000y' }))],
  ['empty sub', 401, 'UNAUTHENTICATED', me(() => accessToken({ sub: '' }))],
  ['overlong sub', 401, 'UNAUTHENTICATED', me(() => accessToken({ sub: 'x'.repeat(256) }))],
  ['sub that nobody has', 404, 'USER_NOT_FOUND', me(() => accessToken({ sub: 'nobody-has-this' }))],
  ...['admin', ['admin'], 'root'].map((role): Attack => [
    `the role ${JSON.stringify(role)} of an outside token`,
    403,
    'FORBIDDEN',
    (w) => call(w.api, 'GET', '/admin/features', { token: accessToken({ sub: w.attacker.userId, role }) }),
  ]),
  [
    'an outside token with the claims of one of our own',
    403,
    'FORBIDDEN',
    (w) => {
      const claims = { ...open(w.attacker.token).payload, laurel: undefined };
      return call(w.api, 'GET', '/admin/features', { token: accessToken({ ...claims, role: 'admin' }) });
    },
  ],
  [
    'a critical header that nobody understands',
    401,
    'UNAUTHENTICATED',
    me((w) =>
      assemble({ alg: 'HS256', crit: ['b64'], b64: false }, open(w.attacker.token).payload, ACCESS_SECRET),
    ),
  ],
  [
    'payload that is no JSON',
    401,
    'UNAUTHENTICATED',
    me(() => assemble({ alg: 'HS256', typ: 'JWT' }, 'no JSON', ACCESS_SECRET)),
  ],
  [
    'header that is no object',
    401,
    'UNAUTHENTICATED',
    me(() => assemble('"HS256"', { sub: 'x' }, ACCESS_SECRET)),
  ],
  ['cut off by one character', 401, 'UNAUTHENTICATED', me((w) => w.attacker.token.slice(0, -1))],
  [
    'cut off before the signature',
    401,
    'UNAUTHENTICATED',
    me((w) => w.attacker.token.split('.').slice(0, 2).join('.')),
  ],
  ['overlong', 401, 'UNAUTHENTICATED', me((w) => w.attacker.token + 'A'.repeat(9000))],
  ['signed twice over', 401, 'UNAUTHENTICATED', me((w) => `${w.attacker.token}.${w.attacker.token}`)],
  ['an action token as an access token', 401, 'UNAUTHENTICATED', me((w) => w.own.actionToken)],
  ['a refresh token as an access token', 401, 'UNAUTHENTICATED', me((w) => w.attacker.refreshToken)],
  [
    'the token in the address',
    401,
    'UNAUTHENTICATED',
    (w) => call(w.api, 'GET', `/users/me?access_token=${w.attacker.token}`),
  ],
  [
    'the token in a cookie',
    401,
    'UNAUTHENTICATED',
    (w) =>
      call(w.api, 'GET', '/users/me', {
        headers: { cookie: `laurel_admin=${w.attacker.token}; token=${w.attacker.token}` },
      }),
  ],
  [
    'basic authentication',
    401,
    'UNAUTHENTICATED',
    (w) => call(w.api, 'GET', '/users/me', { headers: { authorization: 'Basic YWRtaW46YWRtaW4=' } }),
  ],
  [
    'a bad token where none is needed',
    401,
    'UNAUTHENTICATED',
    (w) => call(w.api, 'GET', '/leaderboards/global', { token: 'x.y.z' }),
  ],
];
