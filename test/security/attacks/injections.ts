import { call } from '../../support/player.ts';
import { signed } from './signed.ts';
import { register, type Attack } from './world.ts';

const injections = [
  "' OR '1'='1",
  "'; drop table ledger; --",
  '$gt',
  '{"$ne":null}',
  '*) (uid=*))(|(uid=*',
  '../../etc/passwd',
  '<script>alert(1)</script>',
  '${7*7}',
  '\r\nX-Injected: yes',
  '\u202Enimda',
  '*\r\n$4\r\nFLUSHALL\r\n',
];
export const injectionAttacks: Attack[] = injections.flatMap((text): Attack[] => {
  const shown = JSON.stringify(text);
  const inPath = encodeURIComponent(text);
  return [
    [`${shown} as a user name`, 400, 'INVALID_REQUEST', (w) => register(w, { username: text })],
    [`${shown} as an e-mail address`, 400, 'INVALID_REQUEST', (w) => register(w, { email: text })],
    [
      `${shown} as a name to sign in`,
      401,
      'BAD_CREDENTIALS',
      (w) => call(w.api, 'POST', '/auth/login', { body: { username: text, password: text } }),
    ],
    [
      `${shown} as a refresh token`,
      401,
      'UNAUTHENTICATED',
      (w) => call(w.api, 'POST', '/auth/refresh', { body: { refreshToken: text } }),
    ],
    [
      `${shown} as a type`,
      400,
      'UNKNOWN_ACTION_TYPE',
      (w) => call(w.api, 'POST', '/actions', { token: w.attacker.token, body: { type: text } }),
    ],
    [
      `${shown} as a leaderboard`,
      400,
      'UNKNOWN_LEADERBOARD',
      (w) =>
        call(w.api, 'POST', '/actions', {
          token: w.attacker.token,
          body: { type: 'COMPLETE_TASK', leaderboard: text },
        }),
    ],
    [
      `${shown} as a difficulty`,
      400,
      'INVALID_REQUEST',
      (w) =>
        call(w.api, 'POST', '/actions', {
          token: w.attacker.token,
          body: { type: 'COMPLETE_TASK', metadata: { difficulty: text } },
        }),
    ],
    [
      `${shown} as an action’s id`,
      404,
      'ACTION_NOT_FOUND',
      (w) => call(w.api, 'GET', `/actions/${inPath}`, { token: w.attacker.token }),
    ],
    [
      `${shown} as a client’s action id`,
      400,
      'INVALID_REQUEST',
      (w) => signed(w, w.attacker, { sent: { actionId: text } }),
    ],
    [
      `${shown} as a board’s key`,
      404,
      'LEADERBOARD_NOT_FOUND',
      (w) => call(w.api, 'GET', `/leaderboards/${inPath}`),
    ],
    [
      `${shown} as a period`,
      400,
      'INVALID_REQUEST',
      (w) => call(w.api, 'GET', `/leaderboards/global?period=${inPath}`),
    ],
    [
      `${shown} as a limit`,
      400,
      'INVALID_REQUEST',
      (w) => call(w.api, 'GET', `/leaderboards/global?limit=${inPath}`),
    ],
    [
      `${shown} as a date`,
      400,
      'INVALID_REQUEST',
      (w) => call(w.api, 'GET', `/leaderboards/global?period=daily&date=${inPath}`),
    ],
    [
      `${shown} as a cursor`,
      400,
      'INVALID_REQUEST',
      (w) => call(w.api, 'GET', `/actions?cursor=${inPath}`, { token: w.attacker.token }),
    ],
    [
      `${shown} as a user on a board`,
      400,
      'INVALID_REQUEST',
      (w) => call(w.api, 'GET', `/leaderboards/global/users/${inPath}`),
    ],
    [
      `${shown} among users to rank`,
      400,
      'INVALID_REQUEST',
      (w) => call(w.api, 'POST', '/leaderboards/global/ranks', { body: { userIds: [text] } }),
    ],
  ];
});
