import { expect } from 'chai';
import { after, before } from 'mocha';
import type { Page } from 'playwright-core';
import { buildWeb } from '../../dev/build-web.ts';
import { openPage, type OpenPage } from '../../dev/browser.ts';
import { eventually } from '../support/eventually.ts';
import { Player } from '../support/player.ts';
import { temporaryFolder } from '../support/run-folder.ts';
import { useStores } from '../support/stores.ts';
import { startSite, useSystem, type RunningSite } from '../support/system.ts';

describe('the scoreboard page in a browser', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores);
  let site: RunningSite;
  let opened: OpenPage;
  let page: Page;
  let leader: Player;

  before(async () => {
    const api = system.api[0]!.url;
    leader = await Player.join(api);
    await leader.play(api, 'COMPLETE_MISSION');
    const webRoot = await temporaryFolder('web');
    await buildWeb({ outDir: webRoot, minify: true });
    [site, opened] = await Promise.all([
      startSite(stores, webRoot, {}, { username: 'ada', password: 'laurel-demo' }),
      openPage(),
    ]);
    ({ page } = opened);
    await page.goto(site.url);
  });
  after(() => Promise.all([opened.close(), site.stop()]));

  /** The board as a visitor sees it: rank, name, score from top to bottom, once every figure has counted up. */
  const shows = (expected: [string, Player, number][]): Promise<void> =>
    eventually(
      async () => {
        const entries = await page.getByTestId('entry').all();
        const lines = await Promise.all(
          entries.map(async (entry) => [
            await entry.locator('.entry__rank').textContent(),
            await entry.locator('.entry__name').textContent(),
            Number((await entry.locator('.entry__score').textContent())?.replaceAll(/\D/g, '')),
          ]),
        );
        expect(lines).to.deep.equal(expected.map(([rank, { username }, score]) => [rank, username, score]));
      },
      { timeoutMs: 10_000, everyMs: 50 },
    );
  const state = (): Promise<string | null> => page.getByTestId('connection-state').getAttribute('data-state');
  const isLive = (timeoutMs = 10_000) =>
    eventually(async () => expect(await state()).to.equal('live'), { timeoutMs, everyMs: 50 });

  it('shows the board, and says that it is live', async () => {
    await shows([['1', leader, 100]]);
    await isLive();
    expect(await page.title()).to.equal('Global · Laurel');
  });

  it('shows a completion made elsewhere without being asked', async () => {
    await page.evaluate(() => Object.assign(globalThis, { sameDocument: true }));
    const rival = await Player.join(system.api[0]!.url);
    await rival.play(system.api[0]!.url, 'COMPLETE_MISSION');
    await rival.play(system.api[0]!.url, 'COMPLETE_QUEST');
    await shows([
      ['1', rival, 150],
      ['2', leader, 100],
    ]);
    await leader.play(system.api[0]!.url, 'COMPLETE_MISSION');
    await shows([
      ['1', leader, 200],
      ['2', rival, 150],
    ]);
    expect(await page.evaluate(() => 'sameDocument' in globalThis)).to.equal(true);
  });

  it('lets a player sign in, and complete an action', async () => {
    await page.getByTestId('open-sign-in').click();
    await page.getByTestId('username').fill(leader.username);
    await page.getByTestId('password').fill('correct horse battery');
    await page.getByTestId('submit-sign-in').click();
    await page.getByTestId('account-name').waitFor();
    expect(await page.getByTestId('account-name').textContent()).to.equal(leader.username);
    await page.getByTestId('action-COMPLETE_QUEST').click();
    const result = page.getByTestId('result');
    await result.waitFor();
    await eventually(async () => {
      const text = (await result.textContent()) ?? '';
      expect(text).to.include('+50').and.to.include('250 points').and.to.include('Rank 1, as before');
    });
    const own = page.locator('[data-testid=entry][aria-current=true]');
    await eventually(async () => {
      expect(await own.locator('.entry__name').textContent()).to.equal(leader.username);
      expect(await own.locator('.entry__score').textContent()).to.equal('250');
    });
    expect(opened.complaints).to.deep.equal([]);
  });

  it('tells by words what is wrong with a sign-in', async () => {
    await page.getByTestId('sign-out').click();
    await page.getByTestId('open-sign-in').click();
    await page.getByTestId('username').fill(leader.username);
    await page.getByTestId('password').fill('wrong');
    await page.getByTestId('submit-sign-in').click();
    await page.getByTestId('sign-in-error').waitFor();
    expect(await page.getByTestId('sign-in-error').textContent()).to.match(/password/i);
    await page.keyboard.press('Escape');
    await page.getByTestId('sign-in-form').waitFor({ state: 'hidden' });
  });

  it('comes back by itself, and is right, after the live tier was away', async () => {
    await isLive();
    await site.stopRealtime();
    await eventually(async () => expect(await state()).not.to.equal('live'), { timeoutMs: 10_000 });
    // Nobody tells the page of this one; it must find out by itself.
    await leader.play(system.api[0]!.url, 'COMPLETE_MISSION');
    await site.restartRealtime();
    await isLive(30_000);
    await eventually(async () =>
      expect(await page.locator('.entry__score').first().textContent()).to.equal('350'),
    );
    await leader.play(system.api[0]!.url, 'COMPLETE_TASK');
    await eventually(async () =>
      expect(await page.locator('.entry__score').first().textContent()).to.equal('360'),
    );
    const unexpected = opened.complaints.filter(
      (line) => !/ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|status of 401/.test(line),
    );
    expect(unexpected).to.deep.equal([]);
  });

  it('counts the players as they arrive, also below the top 10', async () => {
    const api = system.api[0]!.url;
    const showsPlayers = (words: string) =>
      eventually(async () => expect(await page.locator('#players').textContent()).to.equal(words));
    const players = await Promise.all(Array.from({ length: 13 }, () => Player.join(api)));
    const [first, second, ...others] = players as [Player, Player, ...Player[]];
    await page.goto(`${site.url}/?board=game2`);
    await isLive();
    await first.play(api, 'COMPLETE_MISSION', 'game2');
    await showsPlayers('1 player');
    await second.play(api, 'COMPLETE_MISSION', 'game2');
    await showsPlayers('2 players');
    const [own, stranger, leader] = others.splice(0, 3) as [Player, Player, Player];
    for (const player of others) await player.play(api, 'COMPLETE_MISSION', 'game2');
    await showsPlayers('10 players');
    // A visitor's own first completion, which changes nothing that is shown of the board.
    await page.getByTestId('open-sign-in').click();
    await page.getByTestId('username').fill(own.username);
    await page.getByTestId('password').fill('correct horse battery');
    await page.getByTestId('submit-sign-in').click();
    await page.getByTestId('action-COMPLETE_TASK').click();
    await showsPlayers('11 players');
    // And a stranger's, of which the page hears when it looks next: at the latest when it is looked at again.
    await stranger.play(api, 'COMPLETE_TASK', 'game2');
    await page.evaluate(`document.dispatchEvent(new Event('visibilitychange'))`);
    await showsPlayers('12 players');
    for (let played = 0; played < 2; played += 1) await leader.play(api, 'COMPLETE_MISSION', 'game2');
    await showsPlayers('13 players');
  });
});
