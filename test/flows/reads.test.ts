import { expect } from 'chai';
import { after, before } from 'mocha';
import { administrator } from '../support/administrator.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { startTier, useSystem, type RunningTier } from '../support/system.ts';

describe('reading boards', () => {
  const stores = useStores();
  const system = useSystem(stores);
  const get = (path: string, options?: Parameters<typeof call>[3]): Promise<Answer> =>
    call(system.api[0]!.url, 'GET', path, options);
  const problem = ({ status, body }: Answer): unknown[] => [status, body.code];

  /** In rank order on game1: 100, then those with 50 in the order in which they reached it, then 10. */
  let players: Player[];
  /** one who never played */
  let idle: Player;
  /** one who plays on game2 only */
  let elsewhere: Player;

  before(async () => {
    const api = system.api[0]!.url;
    const joined = await Promise.all(Array.from({ length: 7 }, () => Player.join(api)));
    [idle, elsewhere] = joined.splice(5) as [Player, Player];
    const [a, b, c, d, e] = joined as [Player, Player, Player, Player, Player];
    for (const [player, type] of [
      [e, 'COMPLETE_TASK'],
      [d, 'COMPLETE_TASK'],
      [b, 'COMPLETE_QUEST'], // 50 before c, and before d gets there
      [c, 'COMPLETE_QUEST'],
      ...Array.from({ length: 4 }, () => [d, 'COMPLETE_TASK'] as const),
      [a, 'COMPLETE_MISSION'],
    ] as const) {
      expect((await player.play(api, type, 'game1')).status).to.equal(200);
    }
    await elsewhere.play(api, 'COMPLETE_TASK', 'game2');
    players = [a, b, c, d, e];
    await eventually(async () => {
      const { body } = await get('/leaderboards/game1');
      expect(body.entries.at(0).score + body.total).to.equal(105);
    });
  });

  const expected = (): unknown[] =>
    players.map(({ userId, username }, i) => ({
      rank: i + 1,
      userId,
      username,
      avatarUrl: null,
      score: [100, 50, 50, 50, 10][i],
    }));
  const shown = (body: any): unknown[] =>
    body.entries.map(({ updatedAt, ...entry }: { updatedAt: string }) => {
      expect(new Date(updatedAt).toISOString()).to.equal(updatedAt);
      return entry;
    });

  it('lists the leaderboards with their periods and limits', async () => {
    const { status, body } = await get('/leaderboards');
    expect(status).to.equal(200);
    expect(body.leaderboards.map(({ key }: { key: string }) => key)).to.deep.equal([
      'global',
      'game1',
      'game2',
    ]);
    expect(body.leaderboards[0]).to.deep.include({
      periods: ['all', 'daily', 'weekly', 'monthly'],
      scoreCap: 1_000_000,
      maxPointsPerUpdate: 100,
    });
  });

  it('shows a board in rank order: score, then who reached it first', async () => {
    const { status, body, headers } = await get('/leaderboards/game1');
    expect(status).to.equal(200);
    expect(body).to.include({
      leaderboard: 'game1',
      period: 'all',
      periodStart: null,
      periodEnd: null,
      total: 5,
    });
    expect(shown(body)).to.deep.equal(expected());
    expect(headers['cache-control']).to.match(/^public, max-age=\d/);
  });

  it('pages through it, each entry once, and past its end is nothing', async () => {
    const first = await get('/leaderboards/game1?limit=2');
    const rest = await get('/leaderboards/game1?limit=100&offset=2');
    expect([...shown(first.body), ...shown(rest.body)]).to.deep.equal(expected());
    expect([typeof first.body.nextCursor, rest.body.nextCursor]).to.deep.equal(['string', null]);
    const past = await get('/leaderboards/game1?offset=5');
    expect([past.status, past.body.entries, past.body.total]).to.deep.equal([200, [], 5]);
  });

  it('counts a completion on its own board and on global, in all four periods', async () => {
    for (const period of ['all', 'daily', 'weekly', 'monthly']) {
      const [game1, global] = await Promise.all(
        ['game1', 'global'].map((key) => get(`/leaderboards/${key}?period=${period}`)),
      );
      expect(shown(game1!.body), period).to.deep.equal(expected());
      expect(global!.body.total).to.equal(6);
      expect(global!.body.period).to.equal(period);
      if (period !== 'all') {
        const now = Date.now();
        expect(Date.parse(global!.body.periodStart)).to.be.most(now);
        expect(Date.parse(global!.body.periodEnd)).to.be.above(now - 60_000);
      }
    }
    expect((await get('/leaderboards/game2')).body.total).to.equal(1);
  });

  it('answers 304 while nothing has changed, and the new page after that', async () => {
    const page = '/leaderboards/game2?limit=5';
    const { headers, body } = await get(page);
    const tag = String(headers['etag']);
    const again = await get(page, { headers: { 'if-none-match': tag } });
    expect([again.status, again.body, again.headers['etag']]).to.deep.equal([304, undefined, tag]);
    for (const other of ['"something"', `"x", W/${tag}`, '*']) {
      const { status } = await get(page, { headers: { 'if-none-match': other } });
      expect(status, other).to.equal(other === '"something"' ? 200 : 304);
    }
    await elsewhere.play(system.api[0]!.url, 'COMPLETE_TASK', 'game2');
    await eventually(async () => {
      const changed = await get(page, { headers: { 'if-none-match': tag } });
      expect(changed.status).to.equal(200);
      expect(changed.headers['etag']).not.to.equal(tag);
      expect(changed.body.version).to.equal(body.version + 1);
      expect(changed.body.entries[0].score).to.equal(20);
    });
  });

  it('shows a change below the top 10 within a second, under another ETag', async () => {
    const api = system.api[0]!.url;
    const key = 'long';
    const token = (await administrator(stores.databaseUrl, api)).token;
    await call(api, 'POST', '/admin/leaderboards', { token, body: { key, title: 'A long board' } });
    const crowd = await Promise.all(Array.from({ length: 12 }, () => Player.join(api)));
    // Two tasks each, and then one more for the last: 12th before and after.
    for (const player of crowd)
      for (const type of player === crowd.at(-1) ? ['COMPLETE_TASK'] : ['COMPLETE_QUEST'])
        expect((await player.play(api, type, key)).status).to.equal(200);
    const page = `/leaderboards/${key}?limit=2&offset=10`;
    const before = await eventually(async () => {
      const answer = await get(page);
      expect(answer.body.entries.map(({ score }: { score: number }) => score)).to.deep.equal([50, 10]);
      return answer;
    });
    await crowd.at(-1)!.play(api, 'COMPLETE_TASK', key);
    await eventually(
      async () => {
        const answer = await get(page, { headers: { 'if-none-match': String(before.headers['etag']) } });
        expect(answer.status).to.equal(200);
        expect(answer.body.entries[1].score).to.equal(20);
        expect(answer.body.version).to.equal(before.body.version);
      },
      { timeoutMs: 2500 },
    );
  });

  it('tells where a user stands, who is around, and what share of the others is below', async () => {
    const third = players[2]!;
    const { status, body } = await get(`/leaderboards/game1/users/${third.userId}?neighbors=1`);
    expect(status).to.equal(200);
    const { neighbors, ...figures } = body;
    expect(figures).to.deep.equal({
      userId: third.userId,
      username: third.username,
      score: 50,
      rank: 3,
      usersAbove: 2,
      usersBelow: 2,
      total: 5,
      percentile: 50,
    });
    expect(shown({ entries: neighbors })).to.deep.equal(expected().slice(1, 4));
    const percentiles = await Promise.all(
      players.map(async ({ userId }) => (await get(`/leaderboards/game1/users/${userId}`)).body),
    );
    expect(percentiles.map(({ percentile }) => percentile)).to.deep.equal([100, 75, 50, 25, 0]);
    for (const one of percentiles) expect(one.neighbors).to.deep.equal([]);
    const [first, last] = await Promise.all(
      [players[0]!, players[4]!].map(({ userId }) => get(`/leaderboards/game1/users/${userId}?neighbors=25`)),
    );
    expect(shown({ entries: first!.body.neighbors })).to.deep.equal(expected());
    expect(shown({ entries: last!.body.neighbors })).to.deep.equal(expected());
  });

  it('knows `me`, and users without a score', async () => {
    const me = await get('/leaderboards/game1/users/me', { token: players[0]!.token });
    expect(me.body).to.include({ userId: players[0]!.userId, rank: 1, score: 100 });
    expect(problem(await get('/leaderboards/game1/users/me'))).to.deep.equal([401, 'UNAUTHENTICATED']);
    for (const { userId, username } of [idle, elsewhere]) {
      const { status, body } = await get(`/leaderboards/game1/users/${userId}?neighbors=5`);
      expect(status).to.equal(200);
      expect(body).to.deep.equal({
        userId,
        username,
        score: 0,
        rank: null,
        usersAbove: null,
        usersBelow: null,
        total: 5,
        percentile: null,
        neighbors: [],
      });
    }
    expect(problem(await get('/leaderboards/game1/users/nobody'))).to.deep.equal([404, 'USER_NOT_FOUND']);
  });

  it('ranks many users at once, in the order asked, and leaves unknown ones out', async () => {
    const [a, , c] = players as [Player, Player, Player];
    const userIds = [c.userId, 'nobody', idle.userId, a.userId];
    const { status, body } = await call(
      system.api[0]!.url,
      'POST',
      '/leaderboards/game1/ranks?period=weekly',
      {
        body: { userIds },
      },
    );
    expect(status).to.equal(200);
    expect(body).to.deep.equal({
      leaderboard: 'game1',
      period: 'weekly',
      ranks: [
        { userId: c.userId, username: c.username, score: 50, rank: 3 },
        { userId: idle.userId, username: idle.username, score: 0, rank: null },
        { userId: a.userId, username: a.username, score: 100, rank: 1 },
      ],
    });
  });

  describe('refuses what it cannot take literally, and names it', () => {
    for (const [query, path] of [
      ['limit=0', 'limit'],
      ['limit=101', 'limit'],
      ['limit=-1', 'limit'],
      ['limit=1.5', 'limit'],
      ['limit=ten', 'limit'],
      ['limit=1&limit=2', 'limit'],
      ['offset=-1', 'offset'],
      ['offset=1e99', 'offset'],
      ['period=yearly', 'period'],
      ['period=Daily', 'period'],
      ['period=daily&date=2026-02-30', 'date'],
      ['period=daily&date=yesterday', 'date'],
      ['period=daily&date=2026-2-3', 'date'],
      ['date=2026-01-01', 'date'],
      ['period=daily&date=1969-12-31', 'date'],
      ['period=weekly&date=1970-01-01', 'date'], // its week begins in 1969
    ] as const) {
      it(`GET …?${query}`, async () => {
        const answer = await get(`/leaderboards/global?${query}`);
        expect(problem(answer)).to.deep.equal([400, 'INVALID_REQUEST']);
        expect(answer.headers['content-type']).to.match(/^application\/problem\+json/);
        expect(answer.body.errors.map((error: { path: string }) => error.path)).to.include(path);
      });
    }
    it('a cursor of another board, or of another period', async () => {
      const { nextCursor } = (await get('/leaderboards/game1?limit=1')).body;
      for (const other of ['global?', 'game1?period=daily&']) {
        const answer = await get(`/leaderboards/${other}cursor=${nextCursor}`);
        expect(problem(answer), other).to.deep.equal([400, 'INVALID_REQUEST']);
      }
      expect((await get(`/leaderboards/game1?cursor=${nextCursor}`)).status).to.equal(200);
    });
    for (const neighbors of ['-1', '26', 'all']) {
      it(`GET …/users/:userId?neighbors=${neighbors}`, async () => {
        const answer = await get(`/leaderboards/game1/users/${idle.userId}?neighbors=${neighbors}`);
        expect(problem(answer)).to.deep.equal([400, 'INVALID_REQUEST']);
      });
    }
    for (const [name, body] of [
      ['nobody', { userIds: [] }],
      ['more than 100', { userIds: Array.from({ length: 101 }, (_, i) => `user${i}`) }],
      ['one twice', { userIds: ['a', 'a'] }],
      ['what is no id', { userIds: [{}] }],
      ['nothing', {}],
    ] as const) {
      it(`POST …/ranks of ${name}`, async () => {
        const answer = await call(system.api[0]!.url, 'POST', '/leaderboards/game1/ranks', { body });
        expect(problem(answer)).to.deep.equal([400, 'INVALID_REQUEST']);
      });
    }
    it('an unknown board, or one in another spelling', async () => {
      for (const path of ['nosuch', 'Global', `global/users/x`.replace('global', 'GAME1')]) {
        expect(problem(await get(`/leaderboards/${path}`)), path).to.deep.equal([
          404,
          'LEADERBOARD_NOT_FOUND',
        ]);
      }
    });
  });

  it('shows an empty board for a date without data', async () => {
    const { status, body } = await get('/leaderboards/game1?period=daily&date=2001-09-09');
    expect(status).to.equal(200);
    expect(body).to.deep.include({
      periodStart: '2001-09-09T00:00:00.000Z',
      periodEnd: '2001-09-10T00:00:00.000Z',
      total: 0,
      entries: [],
    });
  });

  it('asks everybody for a token where boards are not public', async () => {
    const closed = await startTier('api', stores, { PUBLIC_READS: 'false' });
    try {
      for (const path of [
        '/leaderboards',
        '/leaderboards/game1',
        `/leaderboards/game1/users/${idle.userId}`,
      ]) {
        expect(problem(await call(closed.url, 'GET', path)), path).to.deep.equal([401, 'UNAUTHENTICATED']);
        const { status, headers } = await call(closed.url, 'GET', path, { token: idle.token });
        expect(status, path).to.equal(200);
        expect(headers['cache-control'], path).not.to.include('public');
      }
    } finally {
      await closed.stop();
    }
  });

  for (const limit of [0, 150])
    describe(`asked for again, with ${limit === 0 ? 'no limit' : 'a limit'} for an address`, () => {
      let api: RunningTier;
      before(async () => {
        api = await startTier('api', stores, {
          RATE_LIMIT_IP_PER_MINUTE: String(limit),
          RATE_LIMIT_BLOCK_AFTER: '4',
          CORS_ORIGINS: 'https://game.example',
        });
      });
      after(() => api.stop());
      const get = (path: string, options?: Parameters<typeof call>[3]): Promise<Answer> =>
        call(api.url, 'GET', path, options);
      const address = '/leaderboards/game1?limit=50';
      let fresh = 50;
      /** The same page, at an address that nobody has asked for yet. */
      const newAddress = (): string => `/leaderboards/game1?limit=${(fresh += 1)}`;
      /** What must not depend on whether the page was asked for before. */
      const comparable = ({ status, headers, body }: Answer): unknown => ({
        status,
        body,
        headers: Object.fromEntries(
          Object.entries(headers).filter(([name]) => !['date', 'x-request-id', 'ratelimit'].includes(name)),
        ),
      });
      const requestIdIn = ({ headers }: Answer): unknown => headers['x-request-id'];

      it('is answered alike with and without a token, kept or not', async () => {
        const { headers } = await get(address);
        const etag = String(headers['etag']);
        const ways: Record<string, Parameters<typeof call>[3]> = {
          plainly: {},
          'with what one has': { headers: { 'if-none-match': etag } },
          'with something older': { headers: { 'if-none-match': '"older"' } },
          'with one of several': { headers: { 'if-none-match': `"older", W/${etag}` } },
          'from a page': { headers: { origin: 'https://game.example' } },
          'with a token': { token: players[0]!.token },
          'with a bad token': { headers: { authorization: 'Bearer nonsense' } },
        };
        for (const [way, options] of Object.entries(ways)) {
          const first = await get(newAddress(), options);
          // A kept page is at most a quarter of a second old: of several in a row most are kept.
          for (let i = 0; i < 5; i += 1) {
            await get(address);
            const again = await get(address, options);
            expect(comparable(again), way).to.deep.equal(comparable(first));
            expect(requestIdIn(again), way).to.be.a('string').that.does.not.equal(requestIdIn(first));
          }
        }
        const own = { headers: { 'x-request-id': 'the-caller-knows-it' } };
        for (const path of [newAddress(), address, address]) {
          expect(requestIdIn(await get(path, own))).to.equal('the-caller-knows-it');
        }
      });

      it('is counted each time, in the limits and in the figures', async () => {
        const counted = async (): Promise<number> => {
          const text = await (await fetch(`${api.url}/metrics`)).text();
          const lines = text.matchAll(
            /laurel_http_request_duration_seconds_count\{.*route="\/api\/v1\/leaderboards\/:key"[^\n]*\} (\d+)/g,
          );
          return [...lines].reduce((sum, [, count]) => sum + Number(count), 0);
        };
        const remaining = ({ headers }: Answer): unknown => /r=(\d+)/.exec(String(headers['ratelimit']))?.[1];
        const before = await counted();
        const first = remaining(await get(address));
        for (let i = 1; i <= 10; i += 1)
          expect(remaining(await get(address))).to.equal(limit === 0 ? undefined : String(Number(first) - i));
        await eventually(async () => expect(await counted()).to.equal(before + 11));
      });

      it('is not shown any more once the leaderboard is hidden', async () => {
        const { token } = await administrator(stores.databaseUrl, system.api[0]!.url);
        const hide = async (visibility: 'public' | 'private'): Promise<void> => {
          const path = '/admin/leaderboards/game2';
          const { status } = await call(system.api[0]!.url, 'PATCH', path, { token, body: { visibility } });
          expect(status).to.equal(200);
        };
        const page = '/leaderboards/game2?limit=20';
        for (let i = 0; i < 3; i += 1) expect((await get(page)).status).to.equal(200);
        await hide('private');
        try {
          await eventually(async () =>
            expect(problem(await get(page))).to.deep.equal([404, 'LEADERBOARD_NOT_FOUND']),
          );
        } finally {
          await hide('public');
          await eventually(async () => expect((await get(page)).status).to.equal(200));
        }
      });

      it('shows what has changed', async () => {
        const page = '/leaderboards/game2?limit=20';
        const before = (await get(page)).body.entries[0].score;
        expect((await elsewhere.play(system.api[0]!.url, 'COMPLETE_TASK', 'game2')).status).to.equal(200);
        await eventually(async () => expect((await get(page)).body.entries[0].score).to.equal(before + 10));
      });

      if (limit > 0)
        it('is refused when the limit is reached, and not before', async () => {
          const left = Number(/r=(\d+)/.exec(String((await get(address)).headers['ratelimit']))?.[1]);
          for (let i = 0; i < left; i += 1) expect((await get(address)).status).to.equal(200);
          const refused = [await get(address), await get(address), await get(address), await get(address)];
          expect(refused.map(problem)).to.deep.equal(Array.from({ length: 4 }, () => [429, 'RATE_LIMITED']));
          // Each is counted once as a refusal, too: the fourth blocks.
          expect(refused.map(({ body }) => /blocked/.test(body.detail))).to.deep.equal([
            false,
            false,
            false,
            true,
          ]);
        });
    });
});
