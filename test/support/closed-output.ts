import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'chai';

/** Runs a program of ours whose output nobody reads, and expects it to end as SIGPIPE ends others, without a word. */
export async function expectQuietEnd(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<void> {
  const child = spawn(process.execPath, ['--import', 'tsx', ...args], {
    env: { PATH: process.env['PATH'], ...env },
  });
  const ended = once(child, 'close');
  child.stdout.destroy(); // long before it prints
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  expect(await ended).to.deep.equal([141, null]);
  expect(stderr).to.equal('');
}
