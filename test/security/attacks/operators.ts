import { raw, tamper } from '../forge.ts';
import type { Attack } from './world.ts';

const operatorPaths = [
  '/admin/queues',
  '/admin/queues/',
  '/admin/queues/api/queues',
  '/admin/queues/api/queues/completions-0/1/retry',
  '/admin/queues/static/anything.js',
  '/admin/anything',
];
export const operatorAttacks: Attack[] = [
  ...operatorPaths.flatMap((path): Attack[] => [
    [`${path} as nobody`, 401, 'UNAUTHENTICATED', (w) => raw(w.api, 'GET', path)],
    [
      `${path} as a player`,
      403,
      'FORBIDDEN',
      (w) => raw(w.api, 'GET', path, { authorization: `Bearer ${w.attacker.token}` }),
    ],
    [
      `${path} with a player’s token as the cookie`,
      403,
      'FORBIDDEN',
      (w) => raw(w.api, 'PUT', path, { cookie: `laurel_admin=${w.attacker.token}` }),
    ],
    [
      `${path} with a forged cookie`,
      401,
      'UNAUTHENTICATED',
      (w) =>
        raw(w.api, 'PUT', path, { cookie: `laurel_admin=${tamper(w.attacker.token, { role: 'admin' })}` }),
    ],
  ]),
  ...[
    '/ADMIN/queues',
    '/Admin/queues/api/queues',
    '/%61dmin/queues',
    '/admin%2Fqueues',
    '//admin/queues',
    '/./admin/queues',
    '/x/../admin/queues',
    '/admin;x/queues',
    '/admin\\queues',
  ].map((path): Attack => [`${path} for /admin/queues`, 404, 'NOT_FOUND', (w) => raw(w.api, 'GET', path)]),
  [
    'a form from a foreign page',
    403,
    'FORBIDDEN',
    (w) =>
      raw(
        w.api,
        'POST',
        '/admin/sign-in',
        { origin: 'https://evil.example', 'content-type': 'application/x-www-form-urlencoded' },
        'username=admin&password=x',
      ),
  ],
  [
    'a form from a page without an origin',
    403,
    'FORBIDDEN',
    (w) =>
      raw(
        w.api,
        'POST',
        '/admin/sign-in',
        { origin: 'null', 'content-type': 'application/x-www-form-urlencoded' },
        'username=admin&password=x',
      ),
  ],
  [
    'a form whose page is only known by its referrer',
    403,
    'FORBIDDEN',
    (w) => raw(w.api, 'POST', '/admin/sign-out', { referer: 'https://evil.example/x' }),
  ],
  [
    'an overlong form',
    413,
    'PAYLOAD_TOO_LARGE',
    (w) =>
      raw(
        w.api,
        'POST',
        '/admin/sign-in',
        { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' },
        `username=${'x'.repeat(5000)}`,
      ),
  ],
];
