import { gzipSync } from 'node:zlib';
import { call } from '../../support/player.ts';
import { raw } from '../forge.ts';
import { register, type Attack, type World } from './world.ts';

const start =
  (body: string | Buffer, headers: Record<string, string> = {}) =>
  (w: World) =>
    raw(
      w.api,
      'POST',
      '/api/v1/actions',
      { 'content-type': 'application/json', authorization: `Bearer ${w.attacker.token}`, ...headers },
      body,
    );
const nested = (depth: number): string =>
  `{"type":"COMPLETE_TASK","metadata":${'{"a":'.repeat(depth - 2)}{}${'}'.repeat(depth - 2)}}`;

export const bodyAttacks: Attack[] = [
  [
    'a key that reaches the prototype',
    400,
    'INVALID_REQUEST',
    start('{"type":"COMPLETE_TASK","__proto__":{"role":"admin"}}'),
  ],
  [
    'such a key within',
    400,
    'INVALID_REQUEST',
    start('{"type":"COMPLETE_TASK","metadata":{"a":{"__proto__":{"role":"admin"}}}}'),
  ],
  [
    'a constructor where the API knows every member',
    400,
    'INVALID_REQUEST',
    start('{"type":"COMPLETE_TASK","constructor":{"prototype":{"role":"admin"}}}'),
  ],
  [
    'such a key in the address',
    400,
    'INVALID_REQUEST',
    (w) => call(w.api, 'GET', '/leaderboards/global?__proto__=1&limit=3'),
  ],
  ['17 KB', 413, 'PAYLOAD_TOO_LARGE', start(JSON.stringify({ type: 'x'.repeat(17_000) }))],
  [
    '17 KB without a length',
    413,
    'PAYLOAD_TOO_LARGE',
    start(JSON.stringify({ type: 'x'.repeat(17_000) }), { 'transfer-encoding': 'chunked' }),
  ],
  [
    '10 MB in a few bytes',
    413,
    'PAYLOAD_TOO_LARGE',
    start(gzipSync(`{"type":"${'x'.repeat(10_000_000)}"}`), { 'content-encoding': 'gzip' }),
  ],
  ['a broken archive', 400, 'INVALID_REQUEST', start('no gzip', { 'content-encoding': 'gzip' })],
  [
    'an encoding that nobody knows',
    415,
    'UNSUPPORTED_MEDIA_TYPE',
    start('{}', { 'content-encoding': 'rot13' }),
  ],
  ['21 levels', 400, 'INVALID_REQUEST', start(nested(21))],
  ['3,000 levels', 400, 'INVALID_REQUEST', start(nested(2500))],
  ...['', '{', '{"type":}', 'undefined', "{'type':'x'}", '{"type":"COMPLETE_TASK"}}', 'NaN', '\u0000'].map(
    (text): Attack => [`${JSON.stringify(text)} as JSON`, 400, 'INVALID_REQUEST', start(text)],
  ),
  ...[
    '[]',
    'null',
    '7',
    '"text"',
    'true',
    '[{"type":"COMPLETE_TASK"}]',
    '{}',
    '{"type":null}',
    '{"type":7}',
    '{"type":["COMPLETE_TASK"]}',
    '{"type":{"$ne":1}}',
    '{"type":"COMPLETE_TASK","leaderboard":{}}',
    '{"type":"COMPLETE_TASK","metadata":[]}',
    '{"type":"COMPLETE_TASK","metadata":"x"}',
    '{"type":"COMPLETE_TASK","unknown":1}',
    '{"type":"COMPLETE_TASK","userId":"x"}',
  ].map((text): Attack => [`the body ${text}`, 400, 'INVALID_REQUEST', start(text)]),
  ['a NUL character', 400, 'INVALID_REQUEST', start('{"type":"COMPLETE_TASK","metadata":{"a":"\\u0000"}}')],
  [
    'a NUL character in a name',
    400,
    'INVALID_REQUEST',
    start('{"type":"COMPLETE_TASK","metadata":{"\\u0000":1}}'),
  ],
  [
    'half a surrogate pair',
    400,
    'INVALID_REQUEST',
    start('{"type":"COMPLETE_TASK","metadata":{"a":"\\ud800"}}'),
  ],
  [
    'a NUL character in the path',
    400,
    'INVALID_REQUEST',
    (w) => call(w.api, 'GET', '/actions/%00', { token: w.attacker.token }),
  ],
  ['a NUL character as a user', 400, 'INVALID_REQUEST', (w) => call(w.api, 'GET', '/users/%00')],
  [
    'a NUL character as a name',
    400,
    'INVALID_REQUEST',
    (w) => call(w.api, 'POST', '/auth/login', { body: { username: '\u0000', password: 'x' } }),
  ],
  [
    'UTF-16',
    415,
    'UNSUPPORTED_MEDIA_TYPE',
    start(Buffer.from('{"type":"COMPLETE_TASK"}', 'utf16le'), {
      'content-type': 'application/json; charset=utf-16',
    }),
  ],
  [
    'bytes that are no UTF-8',
    400,
    'UNKNOWN_ACTION_TYPE',
    start(Buffer.from([...Buffer.from('{"type":"'), 0xff, 0xfe, ...Buffer.from('"}')])),
  ],
  ...[
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/xml',
    'text/json-not',
    '',
  ].map((type): Attack => [
    `the media type ${type}`,
    415,
    'UNSUPPORTED_MEDIA_TYPE',
    start('{"type":"COMPLETE_TASK"}', { 'content-type': type }),
  ]),
  ['an address that is no text', 404, 'NOT_FOUND', (w) => raw(w.api, 'GET', '/api/v2/%E0%A4%A')],
  [
    'an overlong address',
    400,
    'INVALID_REQUEST',
    (w) => raw(w.api, 'GET', `/api/v1/leaderboards?${'x'.repeat(5000)}`),
  ],
  ['line ends in the address', 404, 'NOT_FOUND', (w) => raw(w.api, 'GET', '/x%0d%0aX-Injected:%20yes')],
  [
    'a method that the route does not have',
    405,
    'METHOD_NOT_ALLOWED',
    (w) => raw(w.api, 'PUT', '/api/v1/actions'),
  ],
  ['a method that no route has', 405, 'METHOD_NOT_ALLOWED', (w) => raw(w.api, 'PROPFIND', '/api/v1/actions')],
  ['TRACE', 405, 'METHOD_NOT_ALLOWED', (w) => raw(w.api, 'TRACE', '/api/v1/actions')],
  [
    'a method in disguise',
    405,
    'METHOD_NOT_ALLOWED',
    (w) => raw(w.api, 'PUT', '/api/v1/actions', { 'x-http-method-override': 'POST' }),
  ],
  [
    'an avatar that is a script',
    400,
    'INVALID_REQUEST',
    (w) =>
      call(w.api, 'PATCH', '/users/me', {
        token: w.attacker.token,
        body: { avatarUrl: 'javascript:alert(1)' },
      }),
  ],
  [
    'an avatar that is not encrypted',
    400,
    'INVALID_REQUEST',
    (w) =>
      call(w.api, 'PATCH', '/users/me', {
        token: w.attacker.token,
        body: { avatarUrl: 'http://example.org/a.png' },
      }),
  ],
  [
    'a role among one’s settings',
    400,
    'INVALID_REQUEST',
    (w) => call(w.api, 'PATCH', '/users/me', { token: w.attacker.token, body: { role: 'admin' } }),
  ],
  ['a role at registration', 400, 'INVALID_REQUEST', (w) => register(w, { role: 'admin' })],
];
