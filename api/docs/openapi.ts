import type Joi from 'joi';
import { problems, type ProblemCode } from '../../common/problems.ts';
import type { Access, Route } from '../http/route.ts';

type Json = Record<string, unknown>;

const API_PREFIX = '/api/v1';

/** A joi schema as JSON Schema 2020-12, the dialect of OpenAPI 3.1. Schemas with an id are named once and referred to. */
function jsonSchema(schema: Joi.Schema, side: 'input' | 'output', named: Map<string, Json>): Json {
  const standard = schema['~standard'].jsonSchema;
  const converted = standard[side]({ target: 'draft-2020-12' });
  const id = (schema.describe() as { flags?: { id?: string } }).flags?.id;
  const repaired = repair(converted, schema.describe() as Described, named);
  if (id === undefined) return repaired;
  named.set(id, repaired);
  return { $ref: `#/components/schemas/${id}` };
}

interface Described {
  readonly flags?: {
    readonly id?: string;
    readonly presence?: string;
    readonly description?: string;
    readonly unknown?: boolean;
  };
  readonly keys?: Record<string, Described>;
  readonly items?: readonly Described[];
  readonly allow?: readonly unknown[];
  readonly metas?: readonly unknown[];
}

/** Mends what joi leaves out: descriptions, null beside allowed values, and references to named schemas inside others. */
function repair(schema: Json, described: Described, named: Map<string, Json>): Json {
  const mended: Json = { ...schema };
  if (described.flags?.description !== undefined) mended['description'] = described.flags.description;
  const nullable = described.allow?.includes(null) ?? false;
  if (nullable && Array.isArray(mended['enum']) && !mended['enum'].includes(null))
    mended['enum'] = [...(mended['enum'] as unknown[]), null];
  // joi takes any object where unknown keys are allowed; say so.
  if (described.flags?.unknown) mended['additionalProperties'] = true;
  const properties = mended['properties'] as Record<string, Json> | undefined;
  if (properties && described.keys) {
    mended['properties'] = Object.fromEntries(
      Object.entries(properties).map(([key, value]) => [
        key,
        nest(value, described.keys?.[key] ?? {}, named),
      ]),
    );
  }
  const [item] = described.items ?? [];
  if (item && typeof mended['items'] === 'object')
    mended['items'] = nest(mended['items'] as Json, item, named);
  return mended;
}

function nest(schema: Json, described: Described, named: Map<string, Json>): Json {
  const repaired = repair(schema, described, named);
  const id = described.flags?.id;
  if (id === undefined) return repaired;
  const reference = { $ref: `#/components/schemas/${id}` };
  if (!described.allow?.includes(null)) {
    named.set(id, repaired);
    return reference;
  }
  const type = repaired['type'];
  named.set(id, {
    ...repaired,
    ...(Array.isArray(type) && { type: type.find((one) => one !== 'null') as unknown }),
  });
  return { anyOf: [reference, { type: 'null' }] };
}

const security: Record<Access, Json[] | undefined> = {
  anyone: [],
  reader: [{}, { bearer: [] }],
  player: [{ bearer: [] }],
  admin: [{ bearer: [] }],
};

const problemSchema: Json = {
  type: 'object',
  description: 'RFC 9457 problem details. `code` is stable; `detail` is for people.',
  properties: {
    type: { type: 'string' },
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
    result: { $ref: '#/components/schemas/CompletionResult' },
  },
  required: ['type', 'title', 'status', 'detail', 'instance', 'code'],
};

const everywhere: ProblemCode[] = ['INVALID_REQUEST', 'INTERNAL_ERROR', 'UNAVAILABLE'];
const withBody: ProblemCode[] = ['PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'];

/** The problems that a route can answer with, gathered by status. */
function problemResponses(route: Route): Json {
  const codes = new Set<ProblemCode>([
    ...everywhere,
    ...(route.body ? withBody : []),
    ...(route.access === 'admin' ? ['FORBIDDEN' as const] : []),
    ...route.problems,
  ]);
  if (route.access !== 'anyone')
    for (const code of ['UNAUTHENTICATED', 'TOKEN_EXPIRED', 'USER_BANNED', 'USER_NOT_FOUND'] as const)
      codes.add(code);
  const byStatus = new Map<number, ProblemCode[]>();
  for (const code of codes)
    byStatus.set(problems[code].status, [...(byStatus.get(problems[code].status) ?? []), code]);
  return Object.fromEntries(
    [...byStatus].map(([status, known]) => [
      status,
      {
        description: known.map((code) => `\`${code}\`: ${problems[code].title}`).join('. '),
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    ]),
  );
}

function parameters(route: Route, named: Map<string, Json>): Json[] {
  return (['params', 'query'] as const).flatMap((place) => {
    const schema = route[place];
    if (!schema) return [];
    const object = jsonSchema(schema, 'input', named) as {
      properties?: Record<string, Json>;
      required?: string[];
    };
    return Object.entries(object.properties ?? {}).map(([name, { description, ...rest }]) => ({
      name,
      in: place === 'params' ? 'path' : 'query',
      required: place === 'params' || (object.required?.includes(name) ?? false),
      ...(description !== undefined && { description }),
      schema: rest,
    }));
  });
}

/** The OpenAPI 3.1 document of the routes, made from the very schemas that check requests. */
export function openApiDocument(routes: readonly Route[], version: string): Json {
  const named = new Map<string, Json>();
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = API_PREFIX + route.path.replaceAll(/:(\w+)/g, '{$1}');
    const responses = Object.fromEntries(
      Object.entries(route.responses).map(([status, { description, schema, contentType }]) => [
        status,
        {
          description,
          ...(schema && { content: { 'application/json': { schema: jsonSchema(schema, 'output', named) } } }),
          ...(contentType && { content: { [contentType]: { schema: { type: 'string' } } } }),
        },
      ]),
    );
    (paths[path] ??= {})[route.method] = {
      operationId: route.operationId,
      tags: [route.tag],
      summary: route.summary,
      ...(route.description && { description: route.description }),
      security: security[route.access],
      parameters: parameters(route, named),
      ...(route.body && {
        requestBody: {
          required: true,
          content: { 'application/json': { schema: jsonSchema(route.body, 'input', named) } },
        },
      }),
      responses: { ...problemResponses(route), ...responses },
    };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Laurel',
      version,
      description:
        'Live leaderboards with verified scores. Start an action, complete it with the token that the server signed, and watch the board move. Live updates are served over Socket.IO; see the project’s documentation.',
    },
    servers: [{ url: '/' }],
    tags: [...new Set(routes.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      schemas: { Problem: problemSchema, ...Object.fromEntries(named) },
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } },
    },
  };
}
