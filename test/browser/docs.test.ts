import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { expect } from 'chai';
import { after, before } from 'mocha';
import { problemAnchor, problems, type ProblemCode } from '../../common/problems.ts';
import { openPage, type OpenPage } from '../../dev/browser.ts';
import { eventually } from '../support/eventually.ts';
import { call } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

const axe = createRequire(import.meta.url).resolve('axe-core');

describe('the API’s documentation in a browser', function () {
  this.timeout(180_000);
  const stores = useStores();
  const system = useSystem(stores, { workers: 0, realtime: 1 });
  const api = (): string => system.api[0]!.url;
  let opened: OpenPage;

  before(async () => {
    opened = await openPage();
  });
  after(() => opened.close());
  afterEach(() => expect(opened.complaints.splice(0), 'console').to.deep.equal([]));

  /** What axe finds on the page. Playwright runs the script from outside, so the page's policy lets it. */
  async function violations(context: unknown = 'document'): Promise<string[]> {
    const { page } = opened;
    await page.evaluate(await readFile(axe, 'utf8'));
    return page.evaluate(async (given) => {
      const { axe } = globalThis as any;
      const { violations: found } = await axe.run(
        given === 'document' ? (globalThis as any).document : given,
      );
      return found.map((one: any) => `${one.impact} ${one.id}: ${one.nodes[0].html}`);
    }, context);
  }

  for (const path of ['/docs', '/docs/']) {
    it(`shows every operation at ${path}`, async () => {
      const { page } = opened;
      await page.goto(api() + path);
      const { paths } = (await call(api(), 'GET', '//openapi.json')).body;
      const operations = Object.values<object>(paths).flatMap((methods) => Object.keys(methods));
      await eventually(
        async () => expect(await page.locator('.opblock').count()).to.equal(operations.length),
        { timeoutMs: 60_000 },
      );
    });
  }

  it('is used by keyboard alone, and our part of it has no fault that axe finds', async () => {
    const { page } = opened;
    await page.goto(`${api()}/docs`);
    await page.locator('.opblock').first().waitFor();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => (globalThis as any).document.activeElement.textContent)).to.equal(
      'Error codes',
    );
    await page.keyboard.press('Enter');
    await page.waitForURL('**/docs/problems');
    await page.goBack();
    await page.locator('.opblock').first().waitFor();
    await page.locator('.opblock-summary-control').first().focus();
    await page.keyboard.press('Enter');
    await page.locator('.opblock.is-open').first().waitFor();
    // What is inside of Swagger UI is not ours.
    expect(await violations({ exclude: [['#swagger-ui']] })).to.deep.equal([]);
  });

  it('explains every error code, at the address that errors carry, over HTTP and streams', async () => {
    const { page } = opened;
    const unknown = (await call(api(), 'GET', '/nothing')).body;
    expect(unknown.type).to.equal('/docs/problems#not-found');
    const stream = await call(system.realtime[0]!.url, 'GET', '/leaderboards/nosuch/stream');
    expect(stream.body.type).to.equal('/docs/problems#leaderboard-not-found');

    await page.goto(api() + unknown.type);
    for (const [code, { title }] of Object.entries(problems)) {
      const row = page.locator(`#${problemAnchor(code as ProblemCode)}`);
      expect(await row.textContent())
        .to.include(code)
        .and.to.include(title);
    }
    expect(await page.locator('tbody tr').count()).to.equal(Object.keys(problems).length);
    expect(await violations()).to.deep.equal([]);
    await page.setViewportSize({ width: 390, height: 800 });
    expect(await violations()).to.deep.equal([]);
  });
});
