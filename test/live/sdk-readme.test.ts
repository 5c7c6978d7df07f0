import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { after, before } from 'mocha';
import { buildWeb } from '../../dev/build-web.ts';
import { call, Player } from '../support/player.ts';
import { temporaryFolder } from '../support/run-folder.ts';
import { useStores } from '../support/stores.ts';
import { startSite, useSystem, type RunningSite } from '../support/system.ts';

const readme = new URL('../../client/README.md', import.meta.url);
const sdk = new URL('../../client/index.ts', import.meta.url);

describe('the examples in the SDK’s README', () => {
  const stores = useStores();
  const system = useSystem(stores);
  let site: RunningSite;

  before(async () => {
    const webRoot = await temporaryFolder('web');
    await buildWeb({ outDir: webRoot, minify: false });
    site = await startSite(stores, webRoot);
  });
  after(() => site.stop());

  it('run as they are written: sign in, play, hear of it, watch, read', async () => {
    const ada = { username: 'ada', email: 'ada@example.org', password: 'laurel-demo' };
    expect((await call(system.api[0]!.url, 'POST', '/auth/register', { body: ada })).status).to.equal(201);
    const other = await Player.join(system.api[0]!.url);
    const text = await readFile(readme, 'utf8');
    const example = (title: string): string => {
      const section = text.split(/^## /m).find((one) => one.startsWith(`${title}\n`));
      return /```ts\n([^]*?)```/.exec(section ?? '')?.[1] ?? expect.fail(`no example under ${title}`);
    };
    const [play, oneself, watch, read] = ['Play', 'What happens to oneself', 'Watch', 'Read'].map(example);
    const program = [
      play!
        .replace("'@laurel/client'", JSON.stringify(sdk.href))
        .replace('http://localhost:3000', site.url)
        .replaceAll('console.', 'said.'),
      `const [userId, otherId] = [laurel.user!.userId, ${JSON.stringify(other.userId)}];`,
      oneself!.replaceAll('console.', 'said.'),
      read!,
      // The loop goes on until the client is closed: here, with the first board.
      watch!.replaceAll('console.', 'said.'),
      'stop();',
    ].join('\n');
    const prelude = [
      'const lines: unknown[][] = [];',
      'const said = {',
      '  log: (...line: unknown[]) => void lines.push(line),',
      '  table: (rows: unknown[]) => { lines.push(rows); laurel.close(); },',
      '};',
    ].join('\n');
    const file = join(await temporaryFolder('readme'), 'example.mts');
    await writeFile(file, `${prelude}\n${program}\nexport { lines };\n`);
    const { lines } = (await import(pathToFileURL(file).href)) as { lines: unknown[][] };
    expect(lines[0]).to.deep.equal(['+50: 50 points, rank 1']);
    expect(lines.flat()).to.deep.include({ rank: 1, username: 'ada', score: 50 });
  });
});
