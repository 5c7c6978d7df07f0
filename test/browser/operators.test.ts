import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { Queue } from 'bullmq';
import { expect } from 'chai';
import { after, afterEach, before, beforeEach } from 'mocha';
import type { Page } from 'playwright-core';
import { openPage, type OpenPage } from '../../dev/browser.ts';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { DEFAULT_REDIS_PREFIX } from '../../common/redis-names.ts';
import { partitionQueue } from '../../common/queues.ts';
import { administrator } from '../support/administrator.ts';
import { eventually } from '../support/eventually.ts';
import { Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

const PASSWORD = 'an administrator’s password';

describe('the operators’ pages in a browser', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores);
  let opened: OpenPage;
  let page: Page;
  let db: Database;
  let queue: Queue;
  let player: Player;
  let axe: string;
  /** requests to other hosts */
  const foreign: string[] = [];

  const at = (path: string): string => system.api[0]!.url + path;
  const goto = (path: string) => page.goto(at(path));

  before(async () => {
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
    queue = new Queue(partitionQueue(0), {
      prefix: DEFAULT_REDIS_PREFIX,
      connection: { url: stores.redis.url },
    });
    await administrator(stores.databaseUrl, system.api[0]!.url);
    player = await Player.join(system.api[0]!.url);
    axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  });
  after(() => Promise.all([db.destroy(), queue.close()]));

  beforeEach(async () => {
    opened = await openPage();
    ({ page } = opened);
    page.on('request', (request) => {
      if (!request.url().startsWith(at('/')) && !request.url().startsWith('data:'))
        foreign.push(request.url());
    });
  });
  afterEach(() => opened.close());

  async function signIn(username: string, password: string): Promise<void> {
    await page.getByLabel('User name').fill(username);
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', { name: 'Sign in' }).click();
  }
  const showsQueues = async (): Promise<void> => {
    await page.getByText('completions-0').first().waitFor();
    expect(opened.complaints).to.deep.equal([]);
    expect(foreign).to.deep.equal([]);
  };
  async function violations(): Promise<string[]> {
    // Not a script element: the policy of the page forbids those.
    await page.evaluate(axe);
    const found = (await page.evaluate('axe.run()')) as {
      violations: { id: string; nodes: { html: string }[] }[];
    };
    return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
  }

  it('let an administrator in, to Bull Board, where reloads and deep links work', async () => {
    await goto('/admin');
    expect(await violations()).to.deep.equal([]);
    await signIn('admin', PASSWORD);
    await page.waitForURL(at('/admin/queues/'));
    await showsQueues();
    await page.reload();
    await showsQueues();
    for (const path of [
      '/admin/queues',
      '/admin/queues/queue/completions-0',
      '/admin/queues/queue/maintenance?status=completed',
      '/admin',
    ]) {
      await goto(path);
      await showsQueues();
    }
  });

  it('lead to the page that was asked for after sign-in', async () => {
    expect((await goto('/admin/queues/queue/completions-1'))!.status()).to.equal(401);
    opened.complaints.length = 0; // Chromium tells of the 401
    await signIn('admin', PASSWORD);
    await page.waitForURL(at('/admin/queues/queue/completions-1'));
    await showsQueues();
  });

  it('are used by keyboard alone', async () => {
    await goto('/admin');
    expect(await page.evaluate("document.activeElement?.getAttribute('name')")).to.equal('username');
    await page.keyboard.type('admin');
    await page.keyboard.press('Tab');
    await page.keyboard.type(PASSWORD);
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.waitForURL(at('/admin/queues/'));
    await showsQueues();
    await goto('/admin/sign-out');
    await page.keyboard.press('Enter');
    await page.waitForURL(at('/admin'));
    await page.getByLabel('User name').waitFor();
  });

  it('say on the page why a sign-in failed, and keep the way open', async () => {
    await goto('/admin');
    for (const [name, password, reason] of [
      ['admin', 'wrong', /user name or the password is wrong/],
      [player.username, 'correct horse battery', /administrators/],
    ] as const) {
      await signIn(name, password);
      await page.getByRole('alert').waitFor();
      expect(await page.getByRole('alert').textContent()).to.match(reason);
      expect(await violations()).to.deep.equal([]);
      expect((await page.context().cookies()).map(({ name: cookie }) => cookie)).to.deep.equal([]);
    }
    // Chromium tells of an answer's status, and of nothing else.
    expect(opened.complaints.filter((line) => !/status of 40[13]/.test(line))).to.deep.equal([]);
    await signIn('admin', PASSWORD);
    await page.waitForURL(at('/admin/queues/'));
  });

  it('end a session for good at sign-out', async () => {
    await goto('/admin');
    await signIn('admin', PASSWORD);
    await page.waitForURL(at('/admin/queues/'));
    const stolen = await page.context().cookies();
    await page.locator('[aria-haspopup=menu]').first().click();
    await page.getByText('Sign out').click();
    await page.waitForURL(at('/admin/sign-out'));
    expect(await violations()).to.deep.equal([]);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.waitForURL(at('/admin'));
    expect(await page.context().cookies()).to.deep.equal([]);
    await page.context().addCookies(stolen);
    expect((await goto('/admin/queues/'))!.status()).to.equal(401);
  });

  it('retry a failed job by a click, and write down who did', async () => {
    await db('audit_log').where({ action: 'job.retry' }).delete();
    await queue.add('completion', { kind: 'no such kind' }, { jobId: 'poison' });
    await eventually(async () => expect(await queue.getJobState('poison')).to.equal('failed'));
    const finished = (await queue.getJob('poison'))!.finishedOn!;
    await goto('/admin/queues/queue/completions-0/poison');
    await signIn('admin', PASSWORD);
    await page.waitForURL(at('/admin/queues/queue/completions-0/poison'));
    opened.complaints.length = 0;
    // Bull Board's buttons have pictures for names; the first is to retry.
    await page.locator('[class^=jobActions] button').first().click();
    await page.getByRole('button', { name: /confirm/i }).click();
    await eventually(async () => {
      expect((await queue.getJob('poison'))!.finishedOn).to.be.above(finished);
      expect(await queue.getJobState('poison')).to.equal('failed');
    });
    const [line, ...more] = await db('audit_log').where({ action: 'job.retry' });
    expect(more).to.deep.equal([]);
    expect(line).to.deep.include({
      subject: 'poison',
      details: { queue: partitionQueue(0), jobs: ['poison'] },
    });
    expect((await db('users').where({ id: line.actor }).first('username')).username).to.equal('admin');
    expect(opened.complaints).to.deep.equal([]);
  });
});

describe('the operators’ pages in a browser, when somebody guesses', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores);

  it('show a page that says how long to wait', async () => {
    const api = system.api[0]!.url;
    await administrator(stores.databaseUrl, api);
    const { page, complaints, close } = await openPage();
    try {
      await page.goto(`${api}/admin`);
      for (let attempt = 0; attempt <= 10; attempt += 1) {
        await page.getByLabel('User name').fill('admin');
        await page.getByLabel('Password').fill(`guess ${attempt}`);
        const [answer] = await Promise.all([
          page.waitForResponse((response) => response.request().method() === 'POST'),
          page.getByRole('button', { name: 'Sign in' }).click(),
        ]);
        await page.getByRole('alert').waitFor();
        if (attempt < 10) continue;
        expect(answer.status()).to.equal(429);
        expect(Number(answer.headers()['retry-after'])).to.be.within(1, 60);
        expect(await page.getByRole('alert').textContent()).to.match(/\d+ s|later|wait|again/i);
      }
      expect(complaints.filter((line) => !/status of 4(?:01|29)/.test(line))).to.deep.equal([]);
    } finally {
      await close();
    }
  });
});
