import { expect } from 'chai';
import { before } from 'mocha';
import { administrator } from '../support/administrator.ts';
import { operationsOf, resolved } from '../support/openapi.ts';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

type Json = Record<string, any>;
interface Fault {
  readonly path: string;
  readonly message: string;
}

/** Values of which each is wrong for nearly every field. */
const wrong = [null, true, '', '?!', 'x'.repeat(5000), -1e15, 1.5, 1e15, [], ['?!', '?!'], { a_b: {} }];
/** A library's words, a pattern, and marks of code. */
const unfit =
  /["[\]\\^$]|must be of type|less than or equal|length must|fails to|is not allowed|peers|right form/;

describe('what the API says of requests that are not valid', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores, { realtime: 1, env: { SHED_LOOP_DELAY_MS: '0' } });
  const api = (): string => system.api[0]!.url;
  let player: Player;
  let admin: Player;
  before(async () => {
    player = await Player.join(api());
    admin = await administrator(stores.databaseUrl, api());
  });

  const faults = ({ status, body }: Answer): Fault[] => {
    expect(status, JSON.stringify(body)).to.equal(400);
    return body.errors;
  };

  it('names the field, and says what is wanted', async () => {
    const { token } = admin;
    const asked: [method: string, path: string, body: unknown, expected: Fault[]][] = [
      [
        'POST',
        '/actions',
        { type: 7, leadrboard: 'game1' },
        [
          { path: 'type', message: 'must be text' },
          { path: 'leadrboard', message: 'is not a known field; known are type, leaderboard, metadata' },
        ],
      ],
      ['POST', '/actions', {}, [{ path: 'type', message: 'is required' }]],
      [
        'GET',
        '/leaderboards/global?limit=101&period=hourly&date=today',
        undefined,
        [
          { path: 'period', message: 'must be one of: all, daily, weekly, monthly' },
          { path: 'date', message: 'must be a day of the calendar, as 2026-03-02' },
          { path: 'limit', message: 'must be at most 100' },
        ],
      ],
      [
        'GET',
        '/leaderboards/global?date=2026-02-30&period=daily',
        undefined,
        [{ path: 'date', message: 'must be a day of the calendar, as 2026-03-02' }],
      ],
      [
        'GET',
        '/leaderboards/global?offset=1&cursor=x',
        undefined,
        [{ path: '', message: 'may have only one of: offset, cursor' }],
      ],
      ['PATCH', '/admin/leaderboards/game1', {}, [{ path: '', message: 'must have at least 1 field' }]],
      [
        'PATCH',
        '/admin/leaderboards/game1',
        { periods: ['daily', 'daily'], scoreCap: 1.5 },
        [
          { path: 'scoreCap', message: 'must be a whole number' },
          { path: 'periods.1', message: 'is in the list already' },
          { path: 'periods', message: 'must contain all' },
        ],
      ],
      [
        'POST',
        `/admin/users/${player.userId}/adjustments`,
        { leaderboard: 'game1', delta: 0, reason: '' },
        [
          { path: 'delta', message: 'must not be 0' },
          { path: 'reason', message: 'must not be empty' },
        ],
      ],
    ];
    for (const [method, path, body, expected] of asked)
      expect(faults(await call(api(), method, path, { token, body })), path).to.deep.equal(expected);
    const { body } = await call(api(), 'PATCH', '/admin/leaderboards/game1', { token, body: {} });
    expect(body.detail).to.equal('the body must have at least 1 field');
    const stream = `/leaderboards/global/stream?period=hourly&perid=daily`;
    expect(faults(await call(system.realtime[0]!.url, 'GET', stream))).to.deep.equal([
      { path: 'period', message: 'must be one of: all, daily, weekly, monthly' },
      { path: 'perid', message: 'is not a known field; known are period' },
    ]);
  });

  it('is in plain words, for every field of every route', async () => {
    const { body: document } = await call(api(), 'GET', '//openapi.json');
    const said: Fault[] = [];
    const ask = async (method: string, path: string, body?: unknown): Promise<void> => {
      const { token } = path.startsWith('/admin/') ? admin : player;
      const answer = await call(api(), method, path, { token, body });
      said.push(...((answer.body?.errors ?? []) as Fault[]));
    };
    for (const { method, path: template, definition } of operationsOf(document)) {
      // It would end the login that asks.
      if (template.endsWith('/stream') || /\/auth\/(logout|sessions)/.test(template)) continue;
      const parameters = definition['parameters'] as Json[];
      const path = parameters.reduce(
        (filled, { name, in: place }) => (place === 'path' ? filled.replace(`{${name}}`, '%3F!') : filled),
        template.replace('/api/v1', ''),
      );
      if (path.includes('%3F')) await ask(method, path);
      const named = parameters.reduce(
        (filled, { name, in: place, example }) =>
          place === 'path' ? filled.replace(`{${name}}`, encodeURIComponent(String(example))) : filled,
        template.replace('/api/v1', ''),
      );
      const given = parameters.filter(({ in: place }) => place === 'query').map(({ name }) => name as string);
      const inQueries = wrong.filter((one) => typeof one !== 'object' && one !== true);
      for (const name of method === 'GET' ? [...given, 'unknown_field'] : [])
        for (const value of inQueries)
          await ask(method, `${named}?${name}=${encodeURIComponent(String(value).slice(0, 1000))}`);
      const content = definition['requestBody']?.content['application/json'];
      if (!content) continue;
      const fields = Object.keys(resolved(document, content.schema)['properties'] ?? {});
      for (const field of [...fields, 'unknown_field'])
        for (const value of wrong)
          // One more fault, so that nothing is done.
          await ask(method, named, { ...content.example, [field]: value, anotherFault: 1 });
    }
    const messages = [...new Set(said.map(({ message }) => message))];
    expect(messages).to.have.length.above(30);
    expect(messages.filter((message) => unfit.test(message))).to.deep.equal([]);
  });
});
