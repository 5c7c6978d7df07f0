import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { expect } from 'chai';
import fc from 'fast-check';
import { before } from 'mocha';
import { Pool } from 'undici';
import { createDatabase } from '../../common/postgres.ts';
import { ensureUser } from '../../common/seed.ts';
import { closed, resolved } from '../support/openapi.ts';
import { call, Player } from '../support/player.ts';
import { runs } from '../support/runs.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';
import { accessToken } from './forge.ts';
import { hostileText, SchemaArbitrary } from './schema-arbitrary.ts';

/** Over all routes together; each gets its share. */
const REQUESTS = runs(2500);
const AT_ONCE = 8;

type Json = Record<string, any>;
interface Operation {
  method: string;
  path: string;
  definition: Json;
}
interface Ask {
  caller: 'nobody' | 'player' | 'admin' | 'forger';
  path: Record<string, unknown>;
  query: Record<string, unknown>;
  body: unknown;
}

const textOf = (value: unknown): string =>
  typeof value === 'object' ? JSON.stringify(value) : String(value);
/** As one segment or value of an address, which cannot hold half a surrogate pair. */
const inUrl = (value: unknown): string =>
  encodeURIComponent(textOf(value).replaceAll(/\p{Surrogate}/gu, '\uFFFD'));

/** Headers that clients act on: each that comes is documented, and each that is promised comes. */
const ofInterest = [
  'etag',
  'location',
  'retry-after',
  'ratelimit',
  'ratelimit-policy',
  'www-authenticate',
  'allow',
  'cache-control',
  'x-request-id',
  'content-disposition',
];

function checkHeaders(document: Json, documented: Json, sent: Record<string, unknown>, what: string): void {
  const names = new Map(
    Object.entries<Json>(documented).map(([name, header]) => [
      name.toLowerCase(),
      resolved(document, header),
    ]),
  );
  for (const name of ofInterest) {
    if (sent[name] !== undefined)
      expect([...names.keys()], `${name} is not documented: ${what}`).to.include(name);
    else expect(names.get(name)?.['required'], `${name} is promised: ${what}`).not.to.equal(true);
  }
}

describe('the API, asked at random', function () {
  this.timeout(runs(150_000));
  const stores = useStores();
  const system = useSystem(stores, { env: { COMPLETE_WAIT_MS: '500', JWT_TRUST_ADMIN_ROLE: 'true' } });
  let document: Json;
  let operations: Operation[];
  let adminToken: string;

  before(async () => {
    const api = system.api[0]!.url;
    document = (await call(api, 'GET', '//openapi.json')).body;
    operations = Object.entries<Json>(document['paths']).flatMap(([path, methods]) =>
      Object.entries<Json>(methods).map(([method, definition]) => ({
        method: method.toUpperCase(),
        path,
        definition,
      })),
    );
    // What operators do may switch off what players do, so it comes last.
    operations.sort((a, b) => Number(a.path.includes('/admin/')) - Number(b.path.includes('/admin/')));
    const db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
    const adminId = await ensureUser(db, 'operator', 'correct horse battery', 'admin').finally(() =>
      db.destroy(),
    );
    adminToken = accessToken({ sub: adminId, role: 'admin' }, { expiresIn: 3600 });
  });

  it(`answers ${REQUESTS} requests without an error of its own, each as its document says`, async () => {
    const ajv = new Ajv2020({ strict: false, allErrors: true });
    addFormats.default(ajv);
    // Closed: a member that the document does not tell of is a fault here, though clients must bear it.
    ajv.addSchema({ $id: 'document', ...closed(document) });
    const pool = new Pool(system.api[0]!.url, { connections: AT_ONCE });
    const statuses = new Map<number, number>();
    const seen = new Set<string>();
    let sent = 0;
    try {
      for (const operation of operations) await fuzz(operation);
    } finally {
      await pool.close();
    }
    expect(sent).to.be.at.least(REQUESTS);
    // It was no monologue: successes and refusals of many kinds, over most of the routes.
    for (const status of [200, 201, 204, 400, 401, 403, 404, 409])
      expect([...statuses.keys()]).to.include(status);
    const succeeded = operations.filter(({ definition }) => seen.has(`${definition['operationId']} success`));
    expect(succeeded.length).to.be.above(operations.length / 2);

    async function fuzz({ method, path, definition }: Operation): Promise<void> {
      const api = system.api[0]!.url;
      const player = await Player.join(api);
      const other = await Player.join(api);
      const action = (await player.start(api)).body;
      const values = new SchemaArbitrary(document['components'].schemas, {
        key: ['global', 'game1', 'COMPLETE_TASK'],
        leaderboard: ['global', 'game1', 'game2'],
        type: ['COMPLETE_TASK', 'COMPLETE_QUEST'],
        userId: [other.userId, player.userId],
        actionId: [action.actionId],
        actionToken: [action.actionToken],
        refreshToken: [player.refreshToken, other.refreshToken],
        username: [player.username],
        metadata: [{}, { difficulty: 'easy' }, { a: 1 }],
      });
      const parameters = definition['parameters'] as Json[];
      const part = (place: string, right: boolean): fc.Arbitrary<Record<string, unknown>> => {
        const own = parameters.filter((parameter) => parameter['in'] === place);
        return fc.record(
          Object.fromEntries(
            own.map(({ name, schema }) => [
              name,
              right ? values.valid(schema, name) : fc.oneof(values.valid(schema, name), hostileText),
            ]),
          ),
          { requiredKeys: own.filter(({ required }) => required).map(({ name }) => name as string) },
        );
      };
      const schema = definition['requestBody']?.content['application/json'].schema as Json | undefined;
      const ask = (right: boolean): fc.Arbitrary<Ask> =>
        fc.record({
          caller: fc.oneof(
            {
              weight: 6,
              arbitrary: fc.constant(path.includes('/admin/') ? ('admin' as const) : ('player' as const)),
            },
            {
              weight: 1,
              arbitrary: fc.constantFrom('nobody' as const, 'player' as const, 'forger' as const),
            },
          ),
          path: part('path', right),
          query: part('query', right),
          body: schema ? (right ? values.valid(schema) : values.invalid(schema)) : fc.constant(undefined),
        });
      const batch = fc.array(fc.oneof(ask(true), ask(false)), { minLength: AT_ONCE, maxLength: AT_ONCE });
      const tokens = {
        nobody: undefined,
        player: player.token,
        admin: adminToken,
        forger: `${player.token}x`,
      };

      await fc.assert(
        fc.asyncProperty(batch, async (asks) => {
          await Promise.all(asks.map((one) => check(one)));
        }),
        { numRuns: Math.ceil(REQUESTS / operations.length / AT_ONCE) },
      );

      async function check({ caller, path: values, query, body }: Ask): Promise<void> {
        // An empty segment would be another route.
        const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => inUrl(values[name]) || '%20');
        const search = Object.entries(query).map(([name, value]) => `${name}=${inUrl(value)}`);
        const token = tokens[caller];
        const response = await pool.request({
          method: method as 'GET',
          path: [filled, ...(search.length > 0 ? [search.join('&')] : [])].join('?'),
          headers: {
            ...(body !== undefined && { 'content-type': 'application/json' }),
            ...(token !== undefined && { authorization: `Bearer ${token}` }),
          },
          ...(body !== undefined && { body: JSON.stringify(body) }),
        });
        sent += 1;
        const { statusCode: status } = response;
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        if (status < 300) seen.add(`${definition['operationId']} success`);
        const type = String(response.headers['content-type'] ?? '').split(';')[0] ?? '';
        if (type === 'text/event-stream') {
          response.body.on('error', () => undefined).destroy();
          return;
        }
        const text = await response.body.text();
        const what = `${method} ${filled} ${search.join('&')} ${JSON.stringify(body)} -> ${status} ${text.slice(0, 500)}`;
        // Few exports run at a time; the others are asked to come again.
        if (status !== 503 || !path.endsWith('/export')) expect(status, what).to.be.below(500);
        const documented = definition['responses'][status];
        expect(documented, `not in the document: ${what}`).to.be.an('object');
        checkHeaders(document, documented['headers'], response.headers, what);
        if (!documented.content) return expect(text, what).to.equal('') as never;
        expect(documented.content, what).to.have.property(type);
        if (type.endsWith('json')) {
          const pointer = `document#/paths/${path
            .replaceAll('~', '~0')
            .replaceAll('/', '~1')
            .replaceAll(/[{}]/g, (c) =>
              encodeURIComponent(c),
            )}/${method.toLowerCase()}/responses/${status}/content/${type.replace('/', '~1')}/schema`;
          const validate = ajv.getSchema(pointer)!;
          expect(validate(JSON.parse(text)), `${JSON.stringify(validate.errors)} ${what}`).to.equal(true);
        }
        if (status === 429) expect(response.headers).to.have.property('retry-after');
      }
    }
  });
});
