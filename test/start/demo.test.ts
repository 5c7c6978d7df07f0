import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'chai';

describe('npm run demo', function () {
  this.timeout(30_000);

  it('ends quietly when nobody reads what it prints any more, as behind “| head”', async () => {
    const args = ['--import', 'tsx', 'dev/demo/index.ts', '--url', 'http://127.0.0.1:9'];
    const child = spawn(process.execPath, args, { env: { PATH: process.env['PATH'] } });
    const ended = once(child, 'close');
    child.stdout.destroy(); // long before it prints
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    expect(await ended).to.deep.equal([141, null]);
    expect(stderr).to.equal('');
  });
});
