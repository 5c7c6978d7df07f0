import { readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { after, before } from 'mocha';
import type { Socket } from 'socket.io-client';
import ts from 'typescript';
import { buildWeb } from '../../dev/build-web.ts';
import { createSigner } from '../../realtime/boards/signer.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player } from '../support/player.ts';
import { temporaryFolder } from '../support/run-folder.ts';
import { useStores } from '../support/stores.ts';
import { startSite, useSystem, type RunningSite } from '../support/system.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const ada = { username: 'ada', email: 'ada@example.org', password: 'laurel-demo' };

/** What a program says to the console is kept instead; what the examples take for granted is there. */
const prelude = (site: string, other: Player): string => `
  import type { StorageLike } from '@laurel/client';
  export const lines: unknown[][] = [];
  const said = {
    log: (...line: unknown[]) => void lines.push(line),
    // The loop goes on until the client is closed: here, with the first board.
    table: (rows: unknown[]) => { lines.push(rows); laurel.close(); },
  };
  const baseUrl = ${JSON.stringify(site)};
  const theirAccessToken = ${JSON.stringify(other.token)};
  const kept = new Map<string, string>();
  const localStorage: StorageLike = {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
    removeItem: (key) => void kept.delete(key),
  };`;

/** The blocks of TypeScript in a page, in order. */
const examplesIn = (page: string): string[] =>
  [.../```(?:ts|typescript)\n([^]*?)```/g[Symbol.matchAll](page)].map(([, code = '']) => code);

/** A folder whose programs find the packages that are installed here. */
async function projectFolder(name: string): Promise<string> {
  const folder = await temporaryFolder(name);
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

/** Compiles as a strict browser project would. @returns what the compiler has to say */
function complaints(...files: string[]): string[] {
  const config = ts.readConfigFile(join(root, 'tsconfig.browser.json'), (path) => ts.sys.readFile(path));
  const { options } = ts.parseJsonConfigFileContent(config.config, ts.sys, root);
  const program = ts.createProgram(files, {
    ...options,
    // The SDK is imported by its place, not by its name.
    rewriteRelativeImportExtensions: false,
    typeRoots: [join(root, 'node_modules/@types')],
  });
  return ts
    .getPreEmitDiagnostics(program)
    .map(
      ({ file, messageText }) =>
        `${basename(file?.fileName ?? '')}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`,
    );
}

describe('the examples in the documentation', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores);
  let site: RunningSite;

  before(async () => {
    const webRoot = await temporaryFolder('web');
    await buildWeb({ outDir: webRoot, minify: false });
    // So that the third completion within a minute is one too many.
    site = await startSite(stores, webRoot, { RATE_LIMIT_COMPLETE_PER_MINUTE: '2' });
  });
  after(() => site.stop());

  it('compile and run as they are written in the SDK’s README', async () => {
    const api = system.api[0]!.url;
    expect((await call(api, 'POST', '/auth/register', { body: ada })).status).to.equal(201);
    const other = await Player.join(api);
    const text = await readFile(join(root, 'client/README.md'), 'utf8');
    const examples = new Map(
      text.split(/^## /m).flatMap((section) => {
        const code = examplesIn(section).join('');
        return code === ''
          ? []
          : [[section.split('\n', 1)[0]!, code.replaceAll('console.', 'said.')] as const];
      }),
    );
    expect([...examples.keys()]).to.deep.equal([
      'Play',
      'Watch',
      'What happens to the player',
      'Read',
      'Logins and passwords',
      'Sessions',
      'Errors',
    ]);
    const example = (title: string): string => examples.get(title)!;
    const ofTheirs =
      /`(new LaurelClient\(\{[^`…]*getToken[^`…]*\}\))`/.exec(text)?.[1] ?? expect.fail('no getToken');
    const [imports, errors] = [
      /^import .*$/m.exec(example('Errors'))![0],
      example('Errors').replace(/^import .*$/m, ''),
    ];
    const program = `
      ${imports}
      ${prelude(site.url, other)}
      ${example('Play').replace('http://localhost:3000', site.url)}

      const [userId, otherId] = [laurel.user!.userId, ${JSON.stringify(other.userId)}];
      ${example('What happens to the player')}
      // Heard by a connection; that it stands is known by a board that it carries.
      const board = laurel.watch('game2');
      for await (const _ of board) if (board.state === 'live') break;
      await laurel.play('COMPLETE_QUEST', { leaderboard: 'game2' });
      const heard = (text: string) => lines.some(([first]) => first === text);
      while (!heard('rank 1 on game2') || !heard('100 points')) await new Promise((resolve) => setTimeout(resolve, 10));

      ${example('Read')}

      ${example('Logins and passwords')}

      {
        ${example('Sessions')}
        await laurel.login(${JSON.stringify({ username: ada.username, password: 'correct horse battery' })});
        said.log('after a reload', new LaurelClient({ baseUrl, storage: localStorage }).user?.username);
        await laurel.logout();
        laurel.close();
        const theirs = ${ofTheirs};
        said.log('theirs', (await theirs.me()).username);
        theirs.close();
      }

      const fail = async () => {
        ${errors}
      };
      await fail();

      ${example('Watch')}
      stop();
      await laurel.logout();
      await fail();`;
    const file = join(await temporaryFolder('readme'), 'example.mts');
    await writeFile(
      file,
      program.replaceAll("'@laurel/client'", JSON.stringify(join(root, 'client/index.ts'))),
    );
    expect(complaints(file)).to.deep.equal([]);

    const { lines } = (await import(pathToFileURL(file).href)) as { lines: unknown[][] };
    expect(lines[0]).to.deep.equal(['+50: 50 points, rank 1']);
    const told = lines.map((line) => line.join(' '));
    expect(told).to.include.members([
      'signed-in',
      'after a reload ada',
      'signed-out',
      `theirs ${other.username}`,
      'live socket',
    ]);
    expect(lines.flat()).to.deep.include({ rank: 1, username: 'ada', score: 100 });
    expect(told.find((line) => line.startsWith('wait'))).to.match(/^wait \d+ ms$/);
    expect(lines.at(-1)).to.include.members([401, 'UNAUTHENTICATED']);
  });

  it('need no SDK: the lines of docs/realtime.md show a board, too', async () => {
    const player = await Player.join(system.api[0]!.url);
    const [lines = ''] = examplesIn(await readFile(join(root, 'docs/realtime.md'), 'utf8'));
    const file = join(await projectFolder('realtime'), 'example.mts');
    await writeFile(file, `${lines.replace('http://localhost:3000', site.url)}\nexport { socket, board };`);
    const example = (await import(pathToFileURL(file).href)) as { socket: Socket; board: any };
    try {
      await eventually(() => expect(example.board).to.include({ leaderboard: 'global', period: 'daily' }));
      for (const score of [100, 200]) {
        await player.play(system.api[0]!.url, 'COMPLETE_MISSION', 'game1');
        await eventually(() =>
          expect(example.board.entries.map((entry: any) => [entry.username, entry.score])).to.deep.include([
            player.username,
            score,
          ]),
        );
      }
    } finally {
      example.socket.disconnect();
    }
  });

  it('check signatures as they are made', async () => {
    const [, lines = ''] = examplesIn(await readFile(join(root, 'docs/realtime.md'), 'utf8'));
    const file = join(await projectFolder('signatures'), 'example.mts');
    await writeFile(file, lines);
    const { isGenuine } = (await import(pathToFileURL(file).href)) as {
      isGenuine: (frame: unknown, secret: string) => boolean;
    };
    const secret = 'a-secret-of-a-studio-that-has-32-bytes';
    const frame = createSigner([secret])({
      type: 'LEADERBOARD_REFRESH',
      leaderboard: 'game1',
      period: 'all',
      version: 2,
      previousVersion: 1,
      timestamp: '2026-03-02T18:30:00.000Z',
      total: 0,
      changes: [],
      entries: [],
    });
    expect(isGenuine(frame, secret)).to.equal(true);
    expect(isGenuine({ ...frame, version: 3 }, secret)).to.equal(false);
    expect(isGenuine({ ...frame, signature: 'cut off' }, secret)).to.equal(false);
    expect(isGenuine(frame, `${secret}!`)).to.equal(false);
  });

  it('compile in a strict project, on every page', async () => {
    const folder = await projectFolder('docs');
    const inDocs = (await readdir(join(root, 'docs'), { recursive: true })).map((name) => join('docs', name));
    // Those of the SDK's README are one program, which is compiled above.
    const pages = [
      'README.md',
      'CONTRIBUTING.md',
      'SECURITY.md',
      ...inDocs.filter((name) => name.endsWith('.md')),
    ];
    const files: string[] = [];
    for (const page of pages) {
      for (const [i, code] of examplesIn(await readFile(join(root, page), 'utf8')).entries()) {
        const file = join(folder, `${page.replaceAll('/', '.')}-${i + 1}.mts`);
        await writeFile(file, `${code}\nexport {};`);
        files.push(file);
      }
    }
    expect(files).not.to.have.length(0);
    expect(complaints(...files)).to.deep.equal([]);
  });
});
