import { expect } from 'chai';
import { call, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8';

describe('problems', () => {
  const stores = useStores();
  const system = useSystem(stores, { workers: 0 });
  const get = (path: string, accept?: string): Promise<Answer> =>
    call(system.api[0]!.url, 'GET', `/${path}`, { ...(accept !== undefined && { headers: { accept } }) });

  for (const accept of [undefined, '*/*', 'application/json', 'application/json, text/plain, */*']) {
    it(`are JSON for a program that accepts ${accept ?? 'whatever comes'}`, async () => {
      const { status, headers, body } = await get('/nosuch', accept);
      expect(status).to.equal(404);
      expect(headers['content-type']).to.match(/^application\/problem\+json/);
      expect(body.code).to.equal('NOT_FOUND');
    });
  }

  it('are JSON of the API for everybody: some HTTP libraries ask for HTML first', async () => {
    for (const path of ['/api/v1/nosuch', '/api/v1/leaderboards/nosuch', '/api/v1/users/me']) {
      const { headers, body } = await get(path, BROWSER);
      expect(headers['content-type'], path).to.match(/^application\/problem\+json/);
      expect(body.code, path).to.be.a('string');
    }
  });

  it('are pages for a browser, whatever their code', async () => {
    for (const [path, status, code] of [
      ['/nosuch', 404, 'NOT_FOUND'],
      ['/docs/assets/nosuch.html', 404, 'NOT_FOUND'],
      [`/${'x'.repeat(5000)}`, 400, 'INVALID_REQUEST'],
    ] as const) {
      const answer = await get(path, BROWSER);
      expect(answer.status, code).to.equal(status);
      expect(answer.headers['content-type'], code).to.equal('text/html; charset=utf-8');
      expect(answer.headers['content-security-policy'], code).to.include("default-src 'self'");
      expect(answer.body, code).to.include(code).and.to.include(answer.headers['x-request-id']);
    }
  });

  it('write what a stranger put into the address as text', async () => {
    const { body } = await get(`/"'&nosuch`, BROWSER);
    expect(body).to.include('&#38;nosuch').and.not.to.include("'&");
  });
});
