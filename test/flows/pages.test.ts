import { expect } from 'chai';
import { percentile } from '../../common/board/board.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

describe('percentiles', () => {
  it('are rounded to the nearest tenth', () => {
    expect(percentile(2, 4)).to.equal(66.7);
    expect(percentile(3, 4)).to.equal(33.3);
    expect(percentile(4, 7)).to.equal(50);
    expect(percentile(2, 8)).to.equal(85.7);
    expect(percentile(1, 1)).to.equal(100);
    expect(percentile(1, 9)).to.equal(100);
    expect(percentile(9, 9)).to.equal(0);
    expect(percentile(null, 9)).to.equal(null);
  });
});

describe('pages below the top 10', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores, { api: 2 });

  it('change their ETag, and show a change, within a second on every instance; the version stays', async () => {
    const [first, second] = system.api.map(({ url }) => url) as [string, string];
    const top = await Promise.all(Array.from({ length: 10 }, () => Player.join(first)));
    const low = await Player.join(first);
    for (const player of top) await player.play(first, 'COMPLETE_MISSION', 'game1');
    await low.play(first, 'COMPLETE_TASK', 'game1');
    const path = '/leaderboards/game1?limit=5&offset=10';
    const shows = (score: number) =>
      eventually(
        async () => {
          // Asked for over and over on both, so that each has the page before the change in memory.
          const answers = await Promise.all([first, second].map((api) => call(api, 'GET', path)));
          for (const { body } of answers)
            expect(body.entries.map((entry: any) => entry.score)).to.deep.equal([score]);
        },
        { timeoutMs: 10_000 },
      );
    await shows(10);
    const before = await Promise.all([first, second].map((api) => call(api, 'GET', path)));
    const done = await low.play(first, 'COMPLETE_TASK', 'game1');
    expect(done.status).to.equal(200);
    const answered = Date.now();
    await shows(20);
    // The promise is a second; a busy machine gets a little more before this fails.
    expect(Date.now() - answered).to.be.below(2500);
    const after = await Promise.all([first, second].map((api) => call(api, 'GET', path)));
    after.forEach(({ headers, body }, i) => {
      expect(headers['etag']).not.to.equal(before[i]!.headers['etag']);
      expect(body.version).to.equal(before[i]!.body.version);
    });
    const stale = await call(first, 'GET', path, {
      headers: { 'if-none-match': String(before[0]!.headers['etag']) },
    });
    expect(stale.status).to.equal(200);
  });
});
