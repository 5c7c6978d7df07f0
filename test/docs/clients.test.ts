import { readFile, writeFile } from 'node:fs/promises';
import { expect } from 'chai';
import createClient from 'openapi-fetch';
import type { paths } from '../../client/api-types.ts';
import { API_TYPES, apiTypes } from '../../dev/api-types.ts';
import { eventually } from '../support/eventually.ts';
import { call } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

describe('clients made from the OpenAPI document', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores, { env: { SHED_LOOP_DELAY_MS: '0' } });
  const api = (): string => system.api[0]!.url;

  it('play a whole game', async () => {
    const client = createClient<paths>({ baseUrl: api() });
    const password = 'correct horse battery';
    const registered = await client.POST('/api/v1/auth/register', {
      body: { username: 'generated', email: 'generated@example.org', password },
    });
    expect(registered.response.status, JSON.stringify(registered.error)).to.equal(201);
    const login = await client.POST('/api/v1/auth/login', { body: { username: 'generated', password } });
    const token: string = login.data?.accessToken ?? expect.fail(JSON.stringify(login.error));
    client.use({
      onRequest: ({ request }) => {
        request.headers.set('Authorization', `Bearer ${token}`);
        return request;
      },
    });

    const started = await client.POST('/api/v1/actions', {
      body: { type: 'COMPLETE_QUEST', leaderboard: 'game1' },
    });
    const { actionId, actionToken } = started.data ?? expect.fail(JSON.stringify(started.error));
    const complete = () =>
      client.POST('/api/v1/actions/{actionId}/complete', {
        params: { path: { actionId }, header: { Prefer: 'wait=10' } },
        body: { actionToken },
      });
    const first = await complete();
    // 200 and 202 have different bodies, which the types tell apart.
    if (first.data?.status !== 'completed') return expect.fail(JSON.stringify(first));
    expect(first.data.score).to.deep.equal({ previous: 0, current: 50, delta: 50 });

    await eventually(async () => {
      const board = await client.GET('/api/v1/leaderboards/{key}', {
        params: { path: { key: 'game1' }, query: { period: 'weekly', limit: 5 } },
      });
      const names: string[] | undefined = board.data?.entries.map(({ username }) => username);
      expect(names).to.deep.equal(['generated']);
    });

    const replay = await complete();
    expect(replay.response.status).to.equal(409);
    expect(replay.error?.code).to.equal('ACTION_ALREADY_COMPLETED');
    expect(replay.error?.result).to.deep.equal(first.data);
  });

  // Afterwards: making the types keeps this process, and with it the service, busy for seconds.
  it('have the types of the service as it is', async () => {
    const { body: document } = await call(api(), 'GET', '//openapi.json');
    const types = await apiTypes(document);
    if (process.env['UPDATE_API_TYPES']) await writeFile(API_TYPES, types);
    const committed = await readFile(API_TYPES, 'utf8');
    expect(committed === types, 'client/api-types.ts is out of date. Run: npm run docs:api').to.equal(true);
  });
});
