import { expect } from 'chai';
import { before } from 'mocha';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

const ofJson = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-frame-options': 'DENY',
  'x-content-type-options': 'nosniff',
  'strict-transport-security': 'max-age=31536000',
};

describe('headers that keep a browser from being turned against its user', () => {
  const stores = useStores();
  const system = useSystem(stores);
  const api = (): string => system.api[0]!.url;
  let player: Player;

  before(async () => {
    player = await Player.join(api());
  });

  it('let nobody run, frame or guess at an answer of the API, whatever it says', async () => {
    const answers = [
      await player.start(api()),
      await call(api(), 'GET', '/leaderboards/global'),
      await call(api(), 'GET', '/leaderboards/global'), // from below the application
      await call(api(), 'POST', '/actions', { token: 'no token', body: {} }),
      await call(api(), 'GET', '/nothing/here'),
    ];
    expect(answers.map(({ status }) => status)).to.deep.equal([201, 200, 200, 401, 404]);
    for (const { headers } of answers) expect(headers).to.include(ofJson);
  });

  it('let a page run its own scripts alone', async () => {
    const { headers } = await fetch(`${api()}/docs`);
    expect(headers.get('content-security-policy')).to.include("default-src 'self'");
    expect(headers.get('content-security-policy')).to.include("frame-ancestors 'none'");
    expect(headers.get('content-security-policy')).not.to.include('unsafe');
    expect(headers.get('x-frame-options')).to.equal('SAMEORIGIN');
    expect(headers.get('referrer-policy')).to.equal('same-origin');
    expect(headers.get('x-content-type-options')).to.equal('nosniff');
  });

  it('tell caches something in every answer: some keep for a day what says nothing', async () => {
    for (const path of [
      `/users/${player.userId}`,
      '/leaderboards',
      '/leaderboards/global',
      '/action-types',
      '/nothing',
    ])
      expect((await call(api(), 'GET', path)).headers, path).to.have.property('cache-control');
    expect((await call(api(), 'GET', `/users/${player.userId}`)).headers['cache-control']).to.equal(
      'no-store',
    );
  });

  it('tell caches that an answer depends on the origin wherever it may', async () => {
    const post = (origin?: string): Promise<Answer> =>
      call(api(), 'POST', '/actions', {
        token: player.token,
        body: { type: 'COMPLETE_TASK' },
        ...(origin !== undefined && { headers: { origin } }),
      });
    // What a cache may keep depends on the token too: an administrator's answer shows private boards.
    expect((await call(api(), 'GET', '/leaderboards/global')).headers['vary']).to.equal(
      'Origin, Authorization',
    );
    expect((await post('https://elsewhere.example')).headers['vary']).to.equal('Origin');
    expect((await post()).headers)
      .to.include({ 'cache-control': 'no-store' })
      .and.not.to.have.property('vary');
  });
});
