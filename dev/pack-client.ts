/** `npm run pack:client`: writes the package of the client SDK as a tarball into dist/. */
import { mkdir } from 'node:fs/promises';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packClient } from './client-package.ts';

const dist = fileURLToPath(new URL('../dist', import.meta.url));
try {
  await mkdir(dist, { recursive: true });
  const tarball = relative(process.cwd(), await packClient(dist));
  console.log(`${tarball} is written. Install it in a game with: npm install ${tarball}`);
} catch (error) {
  console.error(`Packing failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
