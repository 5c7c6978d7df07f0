import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { temporaryFolder } from '../test/support/run-folder.ts';
import { StackError } from './errors.ts';
import { loadSecrets } from './secrets.ts';

describe('secrets of npm start', () => {
  it('are made once, for their owner only', async () => {
    const folder = join(await temporaryFolder('secrets'), 'data');
    const made = loadSecrets(folder);
    expect(loadSecrets(folder)).to.deep.equal(made);
    expect((await stat(join(folder, 'secrets.json'))).mode & 0o777).to.equal(0o600);
    expect((await stat(folder)).mode & 0o777).to.equal(0o700);
  });

  it('say what to do with a data folder that cannot be one, and with a file that cannot be read', async () => {
    const folder = await temporaryFolder('secrets');
    const file = join(folder, 'file');
    await writeFile(file, 'mine');
    expect(() => loadSecrets(file)).to.throw(StackError, /file cannot be made: .*Set DATA_DIR/s);
    expect(await readFile(file, 'utf8')).to.equal('mine');
    // A folder in its place: unreadable for everybody, root too.
    await mkdir(join(folder, 'secrets.json'));
    expect(() => loadSecrets(folder)).to.throw(StackError, /secrets\.json cannot be read: .*Set DATA_DIR/s);
  });

  it('are asked for again only when the file does not hold them', async () => {
    const folder = await temporaryFolder('secrets');
    await writeFile(join(folder, 'secrets.json'), '{"JWT_SECRETS": 1}');
    expect(() => loadSecrets(folder)).to.throw(StackError, /does not hold Laurel's secrets\. Delete it/);
  });
});
