import { problemBody, problems, type ProblemCode } from '../../common/problems.ts';
import type { Access, Route } from '../http/route.ts';
import { exampleOf } from './examples.ts';
import { headerComponents, requestHeaders, responseHeaders } from './headers.ts';
import { Components, type Json } from './json-schema.ts';
import { streamOperation } from './stream.ts';

const API_PREFIX = '/api/v1';

/** In the order in which a game developer meets them. */
const tags = [
  { name: 'Identity', description: 'Accounts, logins and tokens.' },
  { name: 'Actions', description: 'Start an action, and complete it once with its token.' },
  { name: 'Leaderboards', description: 'Boards, standings and ranks, read or followed live.' },
  { name: 'Users', description: 'Profiles, friends, history and personal data.' },
  { name: 'Administration', description: 'For operators: an access token with the role `admin`.' },
];

const security: Record<Access, Json[]> = {
  anyone: [],
  reader: [{}, { bearer: [] }],
  player: [{ bearer: [] }],
  admin: [{ bearer: [] }],
};

const problemSchema = (result: Json): Json => ({
  type: 'object',
  description:
    'RFC 9457 problem details. `code` is stable; `detail` is for people; `type` is the place of the code on a page of all codes.',
  properties: {
    type: { type: 'string', format: 'uri-reference' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    instance: { type: 'string' },
    code: { type: 'string', enum: Object.keys(problems) },
    errors: {
      type: 'array',
      items: {
        type: 'object',
        properties: { path: { type: 'string' }, message: { type: 'string' } },
        required: ['path', 'message'],
      },
    },
    result: { ...result, description: 'of `ACTION_ALREADY_COMPLETED`: the first response' },
  },
  required: ['type', 'title', 'status', 'detail', 'instance', 'code'],
});

const everywhere: ProblemCode[] = ['INVALID_REQUEST', 'INTERNAL_ERROR', 'UNAVAILABLE'];
const withBody: ProblemCode[] = ['PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'];
const withToken: ProblemCode[] = ['UNAUTHENTICATED', 'TOKEN_EXPIRED', 'USER_BANNED', 'USER_NOT_FOUND'];

type Documented = Pick<Route, 'path' | 'access' | 'body' | 'read' | 'idempotent' | 'problems' | 'responses'>;

/** An example of each error; `instance` and `detail` differ from case to case. */
const problemExamples = (): Json =>
  Object.fromEntries(
    (Object.keys(problems) as ProblemCode[]).map((code) => {
      const instance = `${API_PREFIX}/actions`;
      const body = problemBody(code, problems[code].advice, instance);
      return [code, { summary: problems[code].title, value: body }];
    }),
  );

/** The problems that a route can answer with, gathered by status. */
function problemResponses(route: Documented): Json {
  const codes = new Set<ProblemCode>([
    ...everywhere,
    ...(route.body ? withBody : []),
    ...(route.access === 'admin' ? ['FORBIDDEN' as const] : []),
    ...(route.access === 'anyone' ? [] : withToken),
    ...(route.read ? ['RATE_LIMITED' as const] : []),
    ...(route.idempotent ? ['IDEMPOTENCY_KEY_REUSED' as const] : []),
    ...route.problems,
  ]);
  const byStatus = new Map<number, ProblemCode[]>();
  for (const code of codes) {
    const { status } = problems[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, known]) => [
      status,
      {
        description: known.map((code) => `\`${code}\`: ${problems[code].title}`).join('. '),
        headers: responseHeaders(route, status),
        content: {
          'application/problem+json': {
            schema: { $ref: '#/components/schemas/Problem' },
            examples: Object.fromEntries(
              known.map((code) => [code, { $ref: `#/components/examples/${code}` }]),
            ),
          },
        },
      },
    ]),
  );
}

function parameters(route: Route, components: Components): Json[] {
  return (['params', 'query'] as const).flatMap((place) => {
    const schema = route[place];
    if (!schema) return [];
    const object = components.from(schema, 'input') as {
      properties?: Record<string, Json>;
      required?: string[];
    };
    return Object.entries(object.properties ?? {}).map(([name, { description, ...rest }]) => ({
      name,
      in: place === 'params' ? 'path' : 'query',
      required: place === 'params' || (object.required?.includes(name) ?? false),
      ...(description !== undefined && { description }),
      schema: rest,
      example: exampleOf(rest, components, name),
    }));
  });
}

const capitalized = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** What a route answers when all is well. A body without an id of its own is called after the operation. */
function successResponses(route: Route, components: Components): Json {
  const successes = Object.values(route.responses).filter(({ schema }) => schema);
  return Object.fromEntries(
    Object.entries(route.responses).map(([status, { description, schema, contentType }]) => {
      const suffix = successes.length > 1 ? status : '';
      const named =
        schema && components.from(schema, 'output', `${capitalized(route.operationId)}Response${suffix}`);
      return [
        status,
        {
          description,
          headers: responseHeaders(route, Number(status)),
          ...(named && {
            content: { 'application/json': { schema: named, example: exampleOf(named, components) } },
          }),
          ...(contentType && { content: { [contentType]: { schema: { type: 'string' } } } }),
        },
      ];
    }),
  );
}

function operation(route: Route, components: Components): Json {
  const body = route.body && components.from(route.body, 'input', `${capitalized(route.operationId)}Request`);
  return {
    operationId: route.operationId,
    tags: [route.tag],
    summary: route.summary,
    ...(route.description && { description: route.description }),
    security: security[route.access],
    parameters: [...parameters(route, components), ...requestHeaders(route)],
    ...(body && {
      requestBody: {
        required: true,
        content: { 'application/json': { schema: body, example: exampleOf(body, components) } },
      },
    }),
    responses: { ...problemResponses(route), ...successResponses(route, components) },
  };
}

/** The stream of a board, which the live tier serves. */
function stream(components: Components): Json {
  const { parameters, content, events } = streamOperation(components);
  const route = {
    path: '/leaderboards/{key}/stream',
    access: 'reader' as const,
    problems: ['LEADERBOARD_NOT_FOUND', 'RATE_LIMITED', 'METHOD_NOT_ALLOWED'] as const,
    responses: {},
  };
  return {
    operationId: 'streamLeaderboard',
    tags: ['Leaderboards'],
    summary: 'Follow a leaderboard',
    description:
      'Server-sent events. First `leaderboard:snapshot` (LeaderboardSnapshot), then `leaderboard:update` (LeaderboardUpdate) whenever the top 10 changes; the id of each is the version of the board. Reconnect with `Last-Event-ID`. Served by the live tier.',
    security: security.reader,
    parameters,
    responses: {
      ...problemResponses(route),
      200: { description: 'The stream; it stays open', headers: responseHeaders(route, 200), content },
    },
    'x-events': events,
  };
}

/** The OpenAPI 3.1 document of the routes, made from the very schemas that check requests. */
export function openApiDocument(routes: readonly Route[], version: string): Json {
  const components = new Components();
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = API_PREFIX + route.path.replaceAll(/:(\w+)/g, '{$1}');
    (paths[path] ??= {})[route.method] = operation(route, components);
  }
  paths[`${API_PREFIX}/leaderboards/{key}/stream`] = { get: stream(components) };
  const known = new Set(tags.map(({ name }) => name));
  const others = [...new Set(routes.map(({ tag }) => tag))].filter((tag) => !known.has(tag));
  components.add('Problem', problemSchema({ $ref: '#/components/schemas/CompletionResult' }));
  return {
    openapi: '3.1.0',
    info: {
      title: 'Laurel',
      version,
      description:
        'Live leaderboards with verified scores. Start an action, complete it with the token that the server signed, and watch the board move. Live updates are served over Socket.IO as well; see the project’s documentation. [All error codes](/docs/problems).',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    tags: [...tags, ...others.map((name) => ({ name }))],
    paths,
    components: {
      schemas: components.schemas,
      headers: headerComponents(),
      examples: problemExamples(),
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description: 'The `accessToken` of a login, or a token of an outside identity service.',
        },
      },
    },
  };
}
