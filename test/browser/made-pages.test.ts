import { expect } from 'chai';
import { after, afterEach, before } from 'mocha';
import type { Page } from 'playwright-core';
import { openPage, type OpenPage } from '../../dev/browser.ts';
import { axeViolations } from '../support/axe.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

describe('the pages that the API makes, in a browser', function () {
  this.timeout(120_000);
  const stores = useStores();
  const system = useSystem(stores, { workers: 0 });
  let opened: OpenPage;
  let page: Page;

  before(async () => {
    opened = await openPage();
    ({ page } = opened);
  });
  after(() => opened.close());
  afterEach(() => {
    // Chromium tells of the status of a page that is an error, and of nothing else.
    const unexpected = opened.complaints.splice(0).filter((line) => !/status of 404/.test(line));
    expect(unexpected, 'console').to.deep.equal([]);
  });

  const goto = (path: string) => page.goto(system.api[0]!.url + path);
  async function fits(): Promise<void> {
    const [width, room] = await page.evaluate<[number, number]>(
      '[document.documentElement.scrollWidth, innerWidth]',
    );
    expect(width, `width of ${page.url()}`).to.equal(room);
  }
  /** Lightness of the page's background, from 0 to 255. */
  const lightness = async (): Promise<number> => {
    const colour = await page.evaluate<string>('getComputedStyle(document.body).backgroundColor');
    return Math.max(...[...colour.matchAll(/\d+/g)].slice(0, 3).map(Number));
  };

  for (const colorScheme of ['light', 'dark'] as const) {
    for (const width of [390, 1280]) {
      describe(`${colorScheme}, ${width} px`, () => {
        before(async () => {
          await page.emulateMedia({ colorScheme });
          await page.setViewportSize({ width, height: 800 });
        });
        const hasTheScheme = async () =>
          expect(await lightness()).to.be[colorScheme === 'dark' ? 'below' : 'above'](127);

        for (const path of ['/docs/problems', '/admin', '/nosuch']) {
          it(`${path} fits, and axe finds nothing`, async () => {
            await goto(path);
            await hasTheScheme();
            await fits();
            expect(await axeViolations(page)).to.deep.equal([]);
          });
        }

        it('/docs fits and is readable, with operations open and tried out', async () => {
          await goto('/docs');
          for (const operation of ['completeAction', 'getLeaderboard', 'streamLeaderboard']) {
            const block = page.locator(`.opblock[id$=-${operation}]`);
            await block.locator('.opblock-summary-control').click();
            await block.locator('.try-out__btn').click();
            await block.locator('.responses-table .microlight').first().waitFor();
          }
          await hasTheScheme();
          await fits();
          expect(await axeViolations(page, 'color-contrast')).to.deep.equal([]);
        });
      });
    }
  }

  it('lead on from an address where nothing is', async () => {
    const answer = await goto('/nosuch?<script>');
    expect(answer?.status()).to.equal(404);
    expect(answer?.headers()).to.include({ 'cache-control': 'no-store' });
    expect(answer?.headers()['content-security-policy']).to.include("default-src 'self'");
    expect(await page.getByRole('heading', { level: 1 }).textContent()).to.equal(
      'There is nothing at this address',
    );
    expect(await page.locator('script').count()).to.equal(0);
    expect(await page.getByRole('link', { name: 'Scoreboard' }).getAttribute('href')).to.equal('/');
    await page.getByRole('link', { name: 'NOT_FOUND' }).click();
    await page.waitForURL('**/docs/problems#not-found');
    await page.goBack();
    await page.getByRole('link', { name: 'API documentation' }).click();
    await page.waitForURL('**/docs');
    await page.locator('.opblock').first().waitFor();
  });
});
