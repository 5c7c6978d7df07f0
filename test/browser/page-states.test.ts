import { expect } from 'chai';
import { after, afterEach, before, beforeEach } from 'mocha';
import type { Page } from 'playwright-core';
import { buildWeb } from '../../dev/build-web.ts';
import { openPage, type OpenPage } from '../../dev/browser.ts';
import { administrator } from '../support/administrator.ts';
import { axeViolations } from '../support/axe.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player } from '../support/player.ts';
import { temporaryFolder } from '../support/run-folder.ts';
import { useStores } from '../support/stores.ts';
import { startSite, useSystem, type RunningSite } from '../support/system.ts';

const DEMO = { username: 'ada', password: 'laurel-demo' };
/** Refused connections and answers of 4xx are told on the console by Chromium itself. */
const FROM_NETWORK = /ERR_CONNECTION|ERR_INTERNET_DISCONNECTED|status of 4\d\d/;

describe('the scoreboard page in each state', function () {
  this.timeout(90_000);
  const stores = useStores();
  const system = useSystem(stores);
  let site: RunningSite;
  let demoSite: RunningSite;
  let privateSite: RunningSite;
  let opened: OpenPage;
  let page: Page;
  let admin: Player;
  let player: Player;

  const api = (): string => system.api[0]!.url;
  const byAdmin = (method: string, path: string, body?: unknown) =>
    call(api(), method, path, {
      token: admin.token,
      body,
      headers: { 'Idempotency-Key': crypto.randomUUID() },
    });
  const makeBoard = async (key: string, extra: object = {}): Promise<void> => {
    const { status } = await byAdmin('POST', '/admin/leaderboards', {
      key,
      title: `The ${key} board`,
      periods: ['all', 'daily'],
      ...extra,
    });
    expect(status).to.equal(201);
  };
  const status = () => page.getByTestId('connection-state');
  const isIn = (name: string, timeoutMs = 25_000) =>
    eventually(async () => expect(await status().getAttribute('data-state')).to.equal(name), {
      timeoutMs,
      everyMs: 100,
    });
  const notice = () => page.getByTestId('empty');
  const shows = (name: string) =>
    eventually(async () => expect(await notice().getAttribute('data-notice')).to.equal(name), {
      timeoutMs: 15_000,
      everyMs: 100,
    });
  /** No placeholder is left, axe finds nothing, and the console tells of nothing but the network. */
  async function isWhole(): Promise<void> {
    expect(await page.locator('.entry--loading').count()).to.equal(0);
    expect(await axeViolations(page)).to.deep.equal([]);
    expect(opened.complaints.filter((line) => !FROM_NETWORK.test(line))).to.deep.equal([]);
  }
  const focused = () => page.evaluate<string>(`document.activeElement.id || document.activeElement.tagName`);
  async function signIn(username: string, password: string): Promise<void> {
    await page.getByTestId('open-sign-in').click();
    await page.getByTestId('username').fill(username);
    await page.getByTestId('password').fill(password);
    await page.keyboard.press('Enter');
  }

  before(async () => {
    admin = await administrator(stores.databaseUrl, api());
    player = await Player.join(api());
    await player.play(api(), 'COMPLETE_MISSION');
    const webRoot = await temporaryFolder('web');
    await buildWeb({ outDir: webRoot, minify: true });
    [site, demoSite, privateSite] = await Promise.all([
      startSite(stores, webRoot),
      startSite(stores, webRoot, {}, DEMO),
      startSite(stores, webRoot, { PUBLIC_READS: 'false' }),
    ]);
  });
  after(() => Promise.all([site.stop(), demoSite.stop(), privateSite.stop()]));
  beforeEach(async () => {
    opened = await openPage();
    ({ page } = opened);
  });
  afterEach(() => opened.close());

  it('open: live, and nothing to press for points where there is no demo', async () => {
    await page.goto(site.url);
    await isIn('live');
    expect(await page.getByTestId('play').isVisible()).to.equal(false);
    expect(await page.locator('[data-testid^=action-]').count()).to.equal(0);
    await isWhole();
  });

  it('the demo has the service’s own types and prices, and shows a changed one', async () => {
    await page.goto(demoSite.url);
    await isIn('live');
    const price = page.getByTestId('action-COMPLETE_QUEST').locator('.action__points');
    await eventually(async () => expect(await price.textContent()).to.equal('+50'));
    await isWhole();
    expect((await byAdmin('PATCH', '/admin/action-types/COMPLETE_QUEST', { points: 35 })).status).to.equal(
      200,
    );
    await page.getByTestId('open-sign-in').click();
    await page.getByTestId('username').fill(player.username);
    await page.getByTestId('password').fill('correct horse battery');
    await page.keyboard.press('Enter');
    await page.getByTestId('account-name').waitFor();
    await page.getByTestId('action-COMPLETE_QUEST').click();
    await eventually(async () => expect(await page.getByTestId('result').textContent()).to.include('+35'));
    await eventually(async () => expect(await price.textContent()).to.equal('+35'), { timeoutMs: 10_000 });
  });

  it('empty', async () => {
    await page.goto(`${site.url}/?board=game2`);
    await shows('empty');
    await isIn('live');
    await isWhole();
  });

  it('unknown: says so, and links to boards that there are', async () => {
    await page.goto(`${site.url}/?board=nowhere`);
    await shows('unknown');
    await isIn('refused');
    expect(await page.title()).to.equal('There is no such board · Laurel');
    await eventually(async () => expect(await notice().getByRole('link').count()).to.be.greaterThan(1));
    await isWhole();
    await notice().getByRole('link', { name: 'Global' }).click();
    await isIn('live');
  });

  it('archived by an operator: as unknown', async () => {
    await makeBoard('gone');
    expect((await byAdmin('DELETE', '/admin/leaderboards/gone')).status).to.equal(204);
    await page.goto(`${site.url}/?board=gone`);
    await shows('unknown');
    await isWhole();
  });

  it('closed while it is looked at: since when, with its final standings', async () => {
    await makeBoard('season');
    await player.play(api(), 'COMPLETE_TASK', 'season');
    await page.goto(`${demoSite.url}/?board=season`);
    await isIn('live');
    const closing = await byAdmin('POST', '/admin/leaderboards/season/close', { period: 'all' });
    expect(closing.status).to.equal(200);
    await eventually(
      async () =>
        expect(await status().getAttribute('data-state')).to.be.oneOf(['closed', 'archived', 'closing']),
      { timeoutMs: 30_000, everyMs: 200 },
    );
    await eventually(
      async () =>
        expect(await page.getByTestId('board-time').textContent()).to.match(/^Closed on .*final standings/),
      { timeoutMs: 15_000 },
    );
    expect(await page.getByTestId('entry').count()).to.equal(1);
    await eventually(async () =>
      expect(await page.getByTestId('action-COMPLETE_TASK').getAttribute('aria-disabled')).to.equal('true'),
    );
    await isWhole();
  });

  it('a period that is over: its dates, and the way back', async () => {
    await page.goto(`${site.url}/?board=global&period=daily`);
    await isIn('live');
    await page.getByTestId('other-time').click();
    await page.waitForURL(/date=/);
    await shows('closed-empty');
    expect(await status().getAttribute('data-state')).to.be.oneOf(['archived', 'closing', 'closed']);
    await isWhole();
    await page.getByTestId('other-time').click();
    await isIn('live');
  });

  it('private: nobody is told of it', async () => {
    await makeBoard('secret', { visibility: 'private' });
    await page.goto(`${site.url}/?board=secret`);
    await shows('unknown');
    await isWhole();
  });

  it('for players only: offers to sign in, and shows the board then', async () => {
    await page.goto(privateSite.url);
    await shows('sign-in');
    await isWhole();
    await signIn(player.username, 'correct horse battery');
    await isIn('live');
    expect(await page.getByTestId('entry').count()).to.be.greaterThan(0);
  });

  it('offline: the last known board with its time, another one says that nothing can be reached', async () => {
    await page.goto(site.url);
    await isIn('live');
    const count = await page.getByTestId('entry').count();
    await page.context().setOffline(true);
    await site.stopRealtime();
    await isIn('offline', 60_000);
    expect(await status().textContent()).to.match(/^Offline: the board as of \d\d:\d\d$/);
    expect(await page.getByTestId('entry').count()).to.equal(count);
    await isWhole();
    await page.getByTestId('board-picker').selectOption('game1');
    await shows('offline');
    await isWhole();
    await page.getByTestId('board-picker').selectOption('global');
    expect(await page.getByTestId('entry').count()).to.equal(count);
    await site.restartRealtime();
    await page.context().setOffline(false);
    await isIn('live', 40_000);
  });

  it('muted: does not say that it is live, and follows all the same', async () => {
    await makeBoard('quiet');
    await player.play(api(), 'COMPLETE_TASK', 'quiet');
    await page.goto(`${site.url}/?board=quiet`);
    await isIn('live');
    const mute = (mutedLeaderboards: string[]) =>
      byAdmin('PUT', '/admin/features/broadcast', { enabled: true, mutedLeaderboards });
    expect((await mute(['quiet'])).status).to.equal(200);
    await player.play(api(), 'COMPLETE_TASK', 'quiet');
    await isIn('muted', 40_000);
    await eventually(
      async () => expect(await page.locator('.entry__score').first().textContent()).to.equal('20'),
      { timeoutMs: 20_000 },
    );
    await isWhole();
    await mute([]);
    await player.play(api(), 'COMPLETE_TASK', 'quiet');
    await isIn('live', 30_000);
  });

  it('marks the fields that are wrong, and keeps the focus through signing in and out', async () => {
    await page.goto(site.url);
    await isIn('live');
    await page.getByTestId('open-sign-in').focus();
    await page.keyboard.press('Enter');
    expect(await focused()).to.equal('username');
    await page.keyboard.press('Enter');
    for (const field of ['username', 'password']) {
      const input = page.getByTestId(field);
      expect(await input.getAttribute('aria-invalid')).to.equal('true');
      expect(await input.getAttribute('aria-describedby')).to.equal(`${field}-error`);
    }
    expect(await focused()).to.equal('username');
    expect(await axeViolations(page)).to.deep.equal([]);
    await page.keyboard.type(player.username);
    await page.keyboard.press('Tab');
    await page.keyboard.type('wrong');
    await page.keyboard.press('Enter');
    await page.getByTestId('sign-in-error').waitFor();
    expect(await page.getByTestId('password').getAttribute('aria-invalid')).to.equal('true');
    expect(await focused()).to.equal('password');
    await page.keyboard.type('correct horse battery');
    await page.keyboard.press('Enter');
    await page.getByTestId('account-name').waitFor();
    await eventually(async () => expect(await focused()).to.equal('account'));
    await isWhole();
    await page.getByTestId('sign-out').focus();
    await page.keyboard.press('Enter');
    await page.getByTestId('open-sign-in').waitFor();
    expect(await focused()).to.equal('open-sign-in');
  });

  it('changes the period without moving the board, and every target is large enough', async () => {
    await page.setViewportSize({ width: 390, height: 844 });
    await page.goto(`${demoSite.url}/?board=global`);
    await isIn('live');
    const tops: (number | undefined)[] = [];
    for (const period of ['daily', 'weekly', 'monthly', 'all']) {
      await page.locator(`input[value=${period}]`).focus();
      await page.keyboard.press('Space');
      await isIn('live');
      tops.push((await page.getByTestId('board').boundingBox())?.y);
    }
    expect(new Set(tops).size).to.equal(1);
    const small = await page.evaluate<string[]>(`
      [...document.querySelectorAll('a, button, select, input, .periods label')]
        .filter((element) => element.checkVisibility() && !element.matches('.skip, .periods input'))
        .map((element) => ({ html: element.outerHTML, box: element.getBoundingClientRect() }))
        .filter(({ box }) => box.width < 43.9 || box.height < 43.9)
        .map(({ html, box }) => html.slice(0, 120) + ' ' + box.width + 'x' + box.height)
    `);
    expect(small).to.deep.equal([]);
    expect(await page.evaluate<number>('document.documentElement.scrollWidth')).to.equal(390);
  });

  it('writes names in their own direction, and shows the chosen period in forced colours', async () => {
    await page.emulateMedia({ forcedColors: 'active' });
    await page.goto(site.url);
    await isIn('live');
    expect(await page.locator('.entry__name').first().getAttribute('dir')).to.equal('auto');
    const backgrounds = await page.evaluate<string[]>(`
      ['all', 'daily'].map(
        (value) => getComputedStyle(document.querySelector('input[value=' + value + '] + span')).backgroundColor,
      )
    `);
    expect(backgrounds[0]).not.to.equal(backgrounds[1]);
    await isWhole();
  });

  it('without JavaScript: says what is missing', async () => {
    const context = await page.context().browser()!.newContext({ javaScriptEnabled: false });
    const plain = await context.newPage();
    await plain.goto(site.url);
    expect(await plain.getByTestId('no-script').isVisible()).to.equal(true);
    expect(await plain.getByText('Connecting').isVisible()).to.equal(false);
    await context.close();
  });
});
