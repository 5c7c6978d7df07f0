import { IDEMPOTENCY_KEY } from '../http/idempotency.ts';
import type { HeaderName, Route } from '../http/route.ts';
import type { Json } from './json-schema.ts';

const described: Readonly<Record<HeaderName, readonly [description: string, example: string | number]>> = {
  'X-Request-Id': [
    'Names the request in the logs. A valid one of the request is kept.',
    '6f1c2b9e-4a51-4c0e-9a27-0d8f7c6b5a41',
  ],
  ETag: ['Of the body; send it as `If-None-Match`.', '"Zk3vYw1qT0mB7pXc"'],
  Location: ['Where the resource is.', '/api/v1/actions/01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50'],
  'Retry-After': ['Seconds to wait before the next request.', 2],
  'Cache-Control': ['Who may keep the response, and how long.', 'no-store'],
  RateLimit: ['What is left of the limit: `r` requests, renewed in `t` seconds.', '"complete";r=9;t=60'],
  'RateLimit-Policy': ['The limit: `q` requests in a window of `w` seconds.', '"complete";q=10;w=60'],
  'WWW-Authenticate': ['How to authenticate.', 'Bearer'],
  Allow: ['The methods that are possible here.', 'GET, HEAD'],
  'Content-Disposition': ['The name of the file to save.', 'attachment; filename="laurel-export.json"'],
};

/** Headers that a response of a status always has, and those that it may have. */
function headerNames(route: Pick<Route, 'read' | 'problems' | 'responses'>, status: number) {
  const always: HeaderName[] = ['X-Request-Id'];
  const sometimes: HeaderName[] = [];
  if (status >= 400 || status === 304) always.push('Cache-Control');
  else sometimes.push('Cache-Control');
  if (status === 401) sometimes.push('WWW-Authenticate');
  if (status === 405) always.push('Allow');
  if (status === 429 || status === 503) always.push('Retry-After');
  else if (status === 409 || status === 422) sometimes.push('Retry-After');
  if (route.read || route.problems.includes('RATE_LIMITED')) sometimes.push('RateLimit', 'RateLimit-Policy');
  always.push(...(route.responses[status]?.headers ?? []));
  return { always, sometimes };
}

const OPTIONAL = '-optional';

/** Every header, as a component that responses refer to: once for responses that always have it, once for the others. */
export const headerComponents = (): Json =>
  Object.fromEntries(
    Object.entries(described).flatMap(([name, [description, example]]) => {
      const schema = { type: typeof example === 'number' ? 'integer' : 'string' };
      return [
        [name, { description, required: true, schema, example }],
        [name + OPTIONAL, { description, required: false, schema, example }],
      ];
    }),
  );

/** The headers of a response, for its documentation. */
export function responseHeaders(route: Pick<Route, 'read' | 'problems' | 'responses'>, status: number): Json {
  const { always, sometimes } = headerNames(route, status);
  const refer = (component: string): Json => ({ $ref: `#/components/headers/${component}` });
  return Object.fromEntries([
    ...sometimes.map((name): [string, Json] => [name, refer(name + OPTIONAL)]),
    ...always.map((name): [string, Json] => [name, refer(name)]),
  ]);
}

/** Headers that a route reads. */
export function requestHeaders(
  route: Pick<Route, 'method' | 'path' | 'responses' | 'tag' | 'idempotent'>,
): Json[] {
  const text = (name: string, description: string, example: string): Json => ({
    name,
    in: 'header',
    required: false,
    description,
    schema: { type: 'string' },
    example,
  });
  return [
    ...(304 in route.responses
      ? [
          text(
            'If-None-Match',
            'The `ETag` of the page that the client has; answered 304 if it is current.',
            '"Zk3vYw1qT0mB7pXc"',
          ),
        ]
      : []),
    ...(202 in route.responses && route.tag === 'Actions'
      ? [
          text(
            'Prefer',
            '`wait=<seconds>` (up to 30) or `respond-async`: how long to wait before 202.',
            'wait=10',
          ),
        ]
      : []),
    ...(route.idempotent
      ? [
          {
            name: IDEMPOTENCY_KEY,
            in: 'header',
            required: route.idempotent === 'required',
            description:
              'Makes a retry safe: the same key with the same request gets the first answer again, with another request 409. Kept 30 days.',
            schema: { type: 'string', minLength: 1, maxLength: 128, pattern: '^[\\x21-\\x7e]+$' },
            example: '01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50',
          },
        ]
      : []),
  ];
}
