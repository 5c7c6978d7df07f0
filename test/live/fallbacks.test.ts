import { expect } from 'chai';
import { after, before } from 'mocha';
import type { Page } from 'playwright-core';
import { io } from 'socket.io-client';
import { LaurelClient, type BoardUpdate, type SocketFactory } from '../../client/index.ts';
import { openPage, type OpenPage } from '../../dev/browser.ts';
import { buildWeb } from '../../dev/build-web.ts';
import { eventually } from '../support/eventually.ts';
import { Player } from '../support/player.ts';
import { temporaryFolder } from '../support/run-folder.ts';
import { useStores } from '../support/stores.ts';
import { startSite, useSystem, type RunningSite } from '../support/system.ts';

describe('falling back, and up again', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores);
  let site: RunningSite;
  let opened: OpenPage;
  let player: Player;

  before(async () => {
    player = await Player.join(system.api[0]!.url);
    await player.play(system.api[0]!.url);
    const webRoot = await temporaryFolder('web');
    await buildWeb({ outDir: webRoot, minify: true });
    [site, opened] = await Promise.all([startSite(stores, webRoot), openPage()]);
  });
  after(() => Promise.all([opened.close(), site.stop()]));

  it('a client goes from sockets to a stream to asking, and back, and misses nothing', async () => {
    const blocked = new Set<string>();
    // An address at which nobody listens stands for a network that lets no WebSocket through.
    const factory: SocketFactory = (url, options) =>
      io(blocked.has('socket') ? 'http://127.0.0.1:1' : url, options) as ReturnType<SocketFactory>;
    const client = new LaurelClient({
      baseUrl: site.url,
      io: factory,
      fetch: (input, init) =>
        blocked.has('sse') && String(input).includes('/stream')
          ? Promise.reject(new Error('blocked'))
          : fetch(input, init),
      watch: { attempts: 1, upgradeMs: 200, pollMs: 100 },
    });
    const updates: BoardUpdate[] = [];
    try {
      const watcher = client.watch('global');
      watcher.onChange((update) => updates.push(update));
      let score = 10;
      const carriedBy = async (transport: string, state: string): Promise<void> => {
        await eventually(() => expect([watcher.transport, watcher.state]).to.deep.equal([transport, state]), {
          timeoutMs: 15_000,
        });
        const { body } = await player.play(system.api[0]!.url);
        score += 10;
        expect(body.score.current).to.equal(score);
        await eventually(() => expect(watcher.board?.entries[0]?.score).to.equal(score));
      };
      await carriedBy('socket', 'live');
      blocked.add('socket');
      await site.stopRealtime();
      await site.restartRealtime();
      await carriedBy('sse', 'live');
      blocked.add('sse');
      await site.stopRealtime();
      await site.restartRealtime();
      await carriedBy('polling', 'polling');
      blocked.delete('sse');
      await carriedBy('sse', 'live');
      blocked.delete('socket');
      await carriedBy('socket', 'live');
      const versions = updates.map(({ board }) => board.version);
      expect(versions).to.deep.equal([...versions].sort((a, b) => a - b));
    } finally {
      client.close();
    }
  });

  it('a client hears of players again after the connection was lost', async () => {
    const client = new LaurelClient({ baseUrl: site.url });
    const heard: number[] = [];
    try {
      client.on('score:update', ({ score }) => heard.push(score));
      client.spectate(player.userId);
      const hears = () =>
        eventually(
          async () => {
            const { body } = await player.play(system.api[0]!.url);
            await eventually(() => expect(heard).to.include(body.score.current), { timeoutMs: 500 });
          },
          { timeoutMs: 15_000 },
        );
      await hears();
      await site.stopRealtime();
      await site.restartRealtime();
      await hears();
    } finally {
      client.close();
    }
  });

  const firstScore = async (page: Page): Promise<number> =>
    Number((await page.locator('.entry__score').first().textContent())?.replaceAll(/\D/g, ''));
  const state = (page: Page): Promise<string | null> =>
    page.getByTestId('connection-state').getAttribute('data-state');

  it('the page stays live by a stream where no WebSocket gets through, and asks where no stream does either', async () => {
    const [withoutSockets, withNeither] = await Promise.all([
      opened.page.context().newPage(),
      opened.page.context().newPage(),
    ]);
    const streams: string[] = [];
    withoutSockets.on('request', (request) => {
      if (request.url().includes('/stream')) streams.push(request.url());
    });
    // Port 1 refuses: what a page sees of a network that lets no WebSocket through.
    const refuseSockets =
      "WebSocket = class extends WebSocket { constructor() { super('ws://127.0.0.1:1') } }";
    for (const page of [withoutSockets, withNeither]) await page.addInitScript(refuseSockets);
    await withNeither.route(/\/stream/, (route) => route.abort());
    await Promise.all([withoutSockets, withNeither].map((page) => page.goto(site.url)));

    await eventually(async () => expect(await state(withNeither)).to.equal('polling'), { timeoutMs: 20_000 });
    await eventually(async () => expect(await state(withoutSockets)).to.equal('live'), {
      timeoutMs: 30_000,
      everyMs: 50,
    });
    expect(streams).not.to.be.empty;
    const { body } = await player.play(system.api[0]!.url);
    for (const page of [withoutSockets, withNeither]) {
      await eventually(async () => expect(await firstScore(page)).to.equal(body.score.current), {
        timeoutMs: 10_000,
        everyMs: 50,
      });
    }
    expect(await state(withoutSockets)).to.equal('live');
    expect(await state(withNeither)).to.equal('polling');
  });
});
