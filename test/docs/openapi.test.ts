import { expect } from 'chai';
import { before } from 'mocha';
import { NO_EXAMPLE } from '../../api/docs/examples.ts';
import { problems } from '../../common/problems.ts';
import { administrator } from '../support/administrator.ts';
import { closed, DocumentChecks, operationsOf, resolved, type Operation } from '../support/openapi.ts';
import { call, Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

type Json = Record<string, any>;

const HINT =
  'Describe it in the schema of the route (description(), example(), id()), or give its name a place in api/docs/vocabulary.ts.';

/** Every schema below a part of the document, with its place. */
function* walk(value: unknown, place: string): Generator<[place: string, value: Json]> {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) yield [place, value as Json];
  for (const [key, member] of Object.entries(value)) {
    if (key !== 'example' && key !== 'examples') yield* walk(member, `${place}/${key}`);
  }
}

describe('the OpenAPI document', function () {
  this.timeout(120_000);
  const stores = useStores();
  // Compiling the document’s schemas keeps this process busy, which is no reason to refuse requests here.
  const system = useSystem(stores, { realtime: 1, env: { SHED_LOOP_DELAY_MS: '0' } });
  const api = (): string => system.api[0]!.url;
  let document: Json;
  let operations: Operation[];
  const successes = ({ definition }: Operation) =>
    Object.entries<Json>(definition['responses']).filter(([status]) => Number(status) < 300);

  before(async () => {
    document = (await call(api(), 'GET', '//openapi.json')).body;
    operations = operationsOf(document);
  });

  it('documents every operation: summary, parameters, named bodies and examples', () => {
    const missing: string[] = [];
    for (const operation of operations) {
      const { definition, title } = operation;
      const want = (is: boolean, what: string) => is || missing.push(`${title}: ${what}`);
      want(/^[A-Z][^.]*$/.test(definition['summary'] ?? ''), 'a summary that begins with a capital');
      want(
        document['tags'].some(({ name, description }: Json) => name === definition['tags'][0] && description),
        `a description of the tag ${definition['tags'][0]} in api/docs/openapi.ts`,
      );
      for (const { name, description, example } of definition['parameters'] as Json[]) {
        want(Boolean(description), `a description of the parameter ${name}`);
        want(example !== undefined && example !== NO_EXAMPLE, `an example of the parameter ${name}`);
      }
      const bodies: [string, Json][] = Object.entries(definition['requestBody']?.content ?? {});
      for (const [status, response] of successes(operation)) {
        want(response['headers']['X-Request-Id'], `X-Request-Id among the headers of ${status}`);
        bodies.push(...Object.entries<Json>(response['content'] ?? {}));
      }
      for (const [type, { schema, example }] of bodies) {
        if (type !== 'application/json') continue;
        want(typeof schema.$ref === 'string', 'a body that is a component');
        for (const match of JSON.stringify(example).matchAll(/"(\w+)":\[?"NO EXAMPLE"/g))
          missing.push(`${title}: an example of ${match[1]}`);
      }
    }
    expect(missing, `${missing.join('\n')}\n${HINT}`).to.deep.equal([]);
  });

  it('has examples that its own schemas allow', () => {
    const checks = new DocumentChecks(closed(document));
    const wrong: string[] = [];
    for (const { path, method, definition, title } of operations) {
      const way = ['paths', path, method.toLowerCase()];
      (definition['parameters'] as Json[]).forEach(({ name, example }, index) => {
        const errors = checks.errors([...way, 'parameters', String(index), 'schema'], example);
        wrong.push(...errors.map((error) => `${title}: ${name}: ${error}`));
      });
      const bodies: [string[], Json][] = [[[...way, 'requestBody'], definition['requestBody'] ?? {}]];
      for (const [status, response] of Object.entries<Json>(definition['responses']))
        bodies.push([[...way, 'responses', status], response]);
      for (const [place, { content = {} }] of bodies) {
        for (const [type, { example, examples = {} }] of Object.entries<Json>(content)) {
          const values =
            example === undefined
              ? Object.values<Json>(examples).map((one) => resolved(document, one)['value'])
              : [example];
          expect(values, `${title}: ${place.at(-1)} has no example`).not.to.deep.equal([]);
          for (const value of values) {
            const errors = checks.errors([...place, 'content', type, 'schema'], value);
            wrong.push(...errors.map((error) => `${title}: ${place.at(-1)}: ${error}`));
          }
        }
      }
    }
    expect(wrong, `${wrong.join('\n')}\n${HINT}`).to.deep.equal([]);
  });

  it('names every member in camelCase, of requests and responses alike', () => {
    const names = [...walk(document, '')].flatMap(([place, { properties = {} }]) =>
      // A member may itself be called “properties”; then it is a schema.
      place.endsWith('/properties') ? [] : Object.keys(properties).map((name) => `${place}: ${name}`),
    );
    expect(names).to.have.length.above(100);
    expect(names.filter((name) => !/: [a-z][A-Za-z0-9]*$/.test(name))).to.deep.equal([]);
    for (const { definition, title } of operations)
      for (const { name, in: place } of definition['parameters'] as Json[])
        if (place !== 'header') expect(name, title).to.match(/^[a-z][A-Za-z0-9]*$/);
  });

  it('has open responses and closed requests, and leaves no definitions behind', () => {
    for (const [place, schema] of walk(document, '')) expect(schema, place).not.to.have.property('$defs');
    const { schemas } = document['components'];
    const reach = (value: unknown, seen = new Set<string>()): Set<string> => {
      for (const [, name] of JSON.stringify(value).matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
        if (seen.has(name!)) continue;
        seen.add(name!);
        reach(schemas[name!], seen);
      }
      return seen;
    };
    for (const { definition, title } of operations) {
      for (const name of reach(definition['responses']))
        for (const [place, schema] of walk(schemas[name], name))
          expect(schema['additionalProperties'], `${title}: ${place}`).not.to.equal(false);
      const schema = definition['requestBody']?.content['application/json'].schema;
      if (!schema) continue;
      const [name] = reach(schema);
      expect(schemas[name!]['additionalProperties'], `${title}: ${name}`).to.equal(false);
    }
  });

  it('tells of each error that it names what it means', () => {
    const { Problem } = document['components'].schemas;
    expect(Problem.properties.code.enum).to.have.members(Object.keys(problems));
    for (const { definition, title } of operations) {
      for (const [status, response] of Object.entries<Json>(definition['responses'])) {
        if (Number(status) < 400) continue;
        const { examples } = response['content']['application/problem+json'];
        for (const [code, example] of Object.entries<Json>(examples)) {
          const { value } = resolved(document, example);
          expect(value, title).to.include({ code, status: Number(status) });
          expect(value.type).to.equal(`/docs/problems#${code.toLowerCase().replaceAll('_', '-')}`);
        }
        if (status === '429' || status === '503')
          expect(resolved(document, response['headers']['Retry-After']), title).to.include({
            required: true,
          });
      }
    }
  });

  it('describes the event stream as it is', async () => {
    const checks = new DocumentChecks(closed(document));
    const player = await Player.join(api());
    const abort = new AbortController();
    const response = await fetch(`${system.realtime[0]!.url}/api/v1/leaderboards/game1/stream`, {
      signal: abort.signal,
    });
    expect(response.status).to.equal(200);
    const { headers } = document['paths']['/api/v1/leaderboards/{key}/stream'].get.responses[200];
    for (const [name, header] of Object.entries<Json>(headers))
      if (resolved(document, header)['required']) expect(response.headers.get(name), name).not.to.equal(null);
    const seen = new Set<string>();
    let text = '';
    const decoder = new TextDecoder();
    for await (const chunk of response.body!) {
      text += decoder.decode(chunk as Uint8Array, { stream: true });
      for (const [block, event, data] of text.matchAll(/event: (\S+)\nid: \d+\ndata: (.*)\n\n/g)) {
        text = text.replace(block, '');
        const way = ['paths', '/api/v1/leaderboards/{key}/stream', 'get', 'x-events', event!];
        expect(checks.errors(way, JSON.parse(data!)), `${event}: ${data}`).to.deep.equal([]);
        if (!seen.has(event!) && event === 'leaderboard:snapshot')
          expect((await player.play(api(), 'COMPLETE_TASK', 'game1')).status).to.equal(200);
        seen.add(event!);
      }
      if (seen.size === 2) break;
    }
    abort.abort();
    expect([...seen]).to.deep.equal(['leaderboard:snapshot', 'leaderboard:update']);
  });

  // The last one: among the requests are some that archive what the others play on.
  it('has example requests that the service understands', async () => {
    const operator = await administrator(stores.databaseUrl, api());
    for (const { path, method, definition, title } of operations) {
      if (path.endsWith('/stream')) continue;
      const player = path.includes('/admin/') ? operator : await Player.join(api());
      const query = new URLSearchParams();
      const headers: Record<string, string> = {};
      let address = path.replace('/api/v1', '');
      for (const { name, in: place, example } of definition['parameters'] as Json[]) {
        if (place === 'path') address = address.replace(`{${name}}`, encodeURIComponent(String(example)));
        else if (place === 'header') headers[name.toLowerCase()] = String(example);
        // A page begins at an offset or at a cursor.
        else if (name !== 'cursor') query.set(name, String(example));
      }
      const body = definition['requestBody']?.content['application/json'].example;
      const answer = await call(api(), method, `${address}?${query.toString()}`, {
        token: player.token,
        body,
        headers,
      });
      const faults = (answer.body?.errors ?? []) as { path: string; message: string }[];
      const shapes = faults.filter(({ message }) => message !== 'is taken');
      expect(shapes, `${title}: ${JSON.stringify(answer.body)}`).to.deep.equal([]);
      expect(answer.status, `${title}: ${JSON.stringify(answer.body)}`).to.be.below(500);
    }
  });
});
