import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { after, before } from 'mocha';
import { buildWeb } from '../../dev/build-web.ts';
import { openPage, type OpenPage } from '../../dev/browser.ts';
import { packClient } from '../../dev/client-package.ts';
import { accessToken } from '../security/forge.ts';
import { Player } from '../support/player.ts';
import { temporaryFolder } from '../support/run-folder.ts';
import { useStores } from '../support/stores.ts';
import { startSite, useSystem, type RunningSite } from '../support/system.ts';

const run = promisify(execFile);
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
const PASSWORD = 'correct horse battery';

/** A game, as somebody writes it who has nothing but the package. */
const game = (from: string, url: string, username: string): string => `
  import { LaurelClient, LaurelError } from '${from}';

  const laurel = new LaurelClient({ baseUrl: '${url}' });
  await laurel.register({ username: '${username}', email: '${username}@example.org', password: '${PASSWORD}' });
  await laurel.login({ username: '${username}', password: '${PASSWORD}' });
  const watcher = laurel.watch('game1');
  const first = (await watcher[Symbol.asyncIterator]().next()).value;
  const action = await laurel.start('COMPLETE_QUEST', { leaderboard: 'game1' });
  const result = await laurel.complete(action);
  const replay = await laurel.complete(action);
  for await (const { board } of watcher)
    if (board.entries.some(({ username }) => username === '${username}')) break;
  const transport = watcher.transport;
  const refused = await laurel.start('NO_SUCH_TYPE').catch((error) => error);
  const told = { first: first.board.leaderboard, score: result.score.current, same: replay.transactionId === result.transactionId,
    transport, code: refused instanceof LaurelError && refused.code };
  laurel.close();`;
const told = (transport: string) => ({
  first: 'game1',
  score: 50,
  same: true,
  transport,
  code: 'UNKNOWN_ACTION_TYPE',
});

describe('the package of the SDK', function () {
  this.timeout(240_000);
  const stores = useStores();
  useSystem(stores);
  let site: RunningSite;
  let pages: Server;
  let stranger: Server;
  let opened: OpenPage;
  let project: string;

  const origin = (server: Server): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const servePage = async (): Promise<Server> => {
    const server = createServer((_request, response) => {
      response.setHeader('Content-Type', 'text/html');
      response.end('<!doctype html><title>A game</title><link rel="icon" href="data:,">');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return server;
  };

  before(async () => {
    const webRoot = await temporaryFolder('web');
    [pages, stranger] = await Promise.all([
      servePage(),
      servePage(),
      buildWeb({ outDir: webRoot, minify: true }),
    ]);
    [site, opened] = await Promise.all([
      startSite(stores, webRoot, { CORS_ORIGINS: origin(pages) }),
      openPage(),
    ]);
    project = await temporaryFolder('game');
    const tarball = await packClient(await temporaryFolder('pack'));
    await writeFile(join(project, 'package.json'), '{ "name": "game", "private": true, "type": "module" }');
    await run('npm', ['install', tarball, '--offline', '--no-audit', '--no-fund'], { cwd: project });
  });
  after(async () => {
    pages.close();
    stranger.close();
    await Promise.all([opened.close(), site.stop()]);
  });

  it('is MIT, needs no other package, and holds what it says', async () => {
    const folder = join(project, 'node_modules/@laurel/client');
    const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
    expect(manifest.license).to.equal('MIT');
    expect(manifest).not.to.have.any.keys('dependencies', 'peerDependencies', 'scripts');
    for (const file of Object.values<any>(manifest.exports['.']))
      expect((await readFile(join(folder, file), 'utf8')).length, file).to.be.above(100);
    expect(await readFile(join(folder, 'LICENSE'), 'utf8')).to.match(/^MIT License/);
    expect(await readFile(join(folder, 'README.md'), 'utf8')).to.match(/^# @laurel\/client/);
    expect(await readFile(join(folder, 'dist/THIRD-PARTY-LICENSES.txt'), 'utf8')).to.include(
      'socket.io-client',
    );
  });

  it('plays and watches from a plain Node program', async () => {
    await writeFile(
      join(project, 'play.js'),
      `${game('@laurel/client', site.url, 'node-player')}\nconsole.log(JSON.stringify(told));`,
    );
    const { stdout } = await run(process.execPath, ['play.js'], { cwd: project, timeout: 60_000 });
    expect(JSON.parse(stdout)).to.deep.equal(told('socket'));
  });

  it('has types for a strict TypeScript program, with both ways to resolve modules', async () => {
    await writeFile(
      join(project, 'game.ts'),
      `import { LaurelClient, LaurelError, type CompletionResult, type Me, type SessionUser } from '@laurel/client';
       const laurel = new LaurelClient({ baseUrl: 'https://play.example.com' });
       const user: SessionUser | null = laurel.user;
       const result: CompletionResult = await laurel.play('COMPLETE_TASK', { metadata: { difficulty: 'hard' } });
       const rank: number | null = result.rank.current;
       const me: Me = await laurel.me();
       const email: string | null = me.email;
       const { nextCursor } = await laurel.leaderboard('global', { period: 'weekly', limit: 100 });
       await laurel.leaderboard('global', nextCursor === null ? {} : { cursor: nextCursor });
       laurel.on('score:update', ({ newRank }) => { const now: number | null = newRank; void now; });
       for await (const { board, changes } of laurel.watch('global')) console.log(board.entries[0]?.username, changes[0]?.delta);
       try { await laurel.cancel('x'); } catch (error) { if (error instanceof LaurelError) console.log(error.code, error.statusUrl); }
       // @ts-expect-error there is no such period
       await laurel.leaderboard('global', { period: 'yearly' });
       // @ts-expect-error an address is needed
       new LaurelClient({});
       console.log(user, rank, email);`,
    );
    for (const [module, moduleResolution] of [
      ['NodeNext', 'NodeNext'],
      ['ESNext', 'Bundler'],
    ]) {
      const compilerOptions = {
        module,
        moduleResolution,
        target: 'ES2022',
        lib: ['ES2022', 'DOM', 'DOM.Iterable'],
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
        skipLibCheck: false,
        types: [],
        noEmit: true,
      };
      await writeFile(
        join(project, 'tsconfig.json'),
        JSON.stringify({ compilerOptions, files: ['game.ts'] }),
      );
      const { stdout } = await run(process.execPath, [tsc, '-p', project]).catch(
        (error: unknown) => error as { stdout: string },
      );
      expect(stdout, `${moduleResolution}`).to.equal('');
    }
  });

  it('is served as /sdk.js, and plays in a page of another origin', async () => {
    const response = await fetch(`${site.url}/sdk.js`, { headers: { origin: 'https://anywhere.example' } });
    expect(response.headers.get('access-control-allow-origin')).to.equal('*');
    expect(response.headers.get('content-type')).to.match(/javascript/);
    expect(response.headers.get('cache-control')).to.match(/max-age=\d+/);

    const { page, complaints } = opened;
    await page.goto(origin(pages));
    await page.addScriptTag({
      type: 'module',
      content: `${game(`${site.url}/sdk.js`, site.url, 'page-player')}\nglobalThis.told = told;`,
    });
    await page.waitForFunction(() => 'told' in globalThis, undefined, { timeout: 60_000 });
    expect(await page.evaluate(() => (globalThis as any).told)).to.deep.equal(told('socket'));
    // Chromium logs each answer that is no success: the one that the game asked for.
    expect(complaints.splice(0).filter((line) => !/409|400/.test(line))).to.deep.equal([]);
  });

  it('tells a page of an origin that is not allowed what is missing', async () => {
    const { page, complaints } = opened;
    await page.goto(origin(stranger));
    const detail = await page.evaluate(async (url) => {
      const { LaurelClient } = await import(`${url}/sdk.js`);
      const laurel = new LaurelClient({ baseUrl: url });
      return laurel.login({ username: 'a', password: 'b' }).catch((error: any) => error.detail);
    }, site.url);
    complaints.splice(0);
    expect(detail).to.include(`${site.url}/api/v1/auth/login could not be reached`);
    expect(detail).to.include(origin(stranger)).and.to.include('CORS_ORIGINS');
  });

  it('refreshes once for two tabs that share a storage', async () => {
    const { page } = opened;
    const player = await Player.join(site.url);
    const session = {
      accessToken: accessToken({ sub: player.userId }, { expiresIn: -60 }),
      expiresAt: Date.now() - 1,
      refreshToken: player.refreshToken,
      signingKey: player.signingKey,
      user: { userId: player.userId, username: player.username },
    };
    const tabs = [page, await page.context().newPage()];
    const refreshes: string[] = [];
    page.context().on('request', (request) => {
      if (request.url().endsWith('/auth/refresh') && request.method() === 'POST')
        refreshes.push(request.url());
    });
    for (const tab of tabs) {
      await tab.goto(origin(pages));
      await tab.evaluate(
        async ({ url, kept }) => {
          const { localStorage } = globalThis as any;
          localStorage.setItem('laurel.session', JSON.stringify(kept));
          const { LaurelClient } = await import(`${url}/sdk.js`);
          Object.assign(globalThis, { laurel: new LaurelClient({ baseUrl: url, storage: localStorage }) });
        },
        { url: site.url, kept: session },
      );
    }
    const users = await Promise.all(
      tabs.map((tab) => tab.evaluate(async () => (await (globalThis as any).laurel.me()).userId)),
    );
    expect(users).to.deep.equal([player.userId, player.userId]);
    expect(refreshes).to.have.length(1);
  });
});
