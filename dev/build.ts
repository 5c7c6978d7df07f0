/**
 * `npm run build`: compiles the tiers and the CLI into dist/, with what they read beside them, the web page, and the
 * package of the client SDK.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildWeb } from './build-web.ts';
import { buildClientPackage } from './client-package.ts';

const root = fileURLToPath(new URL('../', import.meta.url));
const dist = join(root, 'dist');

/** The folders of tsconfig.build.json. Their modules read these files at run time, from beside themselves. */
const compiled = ['api', 'workers', 'realtime', 'common', 'migrations', 'cli'];
const readAtRunTime = new Set(['.sql', '.lua', '.css']);

function compile(): void {
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
  const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], {
    cwd: root,
    stdio: 'inherit',
  });
  if (status !== 0) throw new Error('the sources do not compile');
}

function copyBesideModules(folder: string): void {
  cpSync(join(root, folder), join(dist, folder), {
    recursive: true,
    filter: (path) => extname(path) === '' || readAtRunTime.has(extname(path)),
  });
}

/** What Node and `laurel --version` need to know, so that dist/ stands on its own. */
function writePackage(): void {
  const { name, version, type } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<
    string,
    unknown
  >;
  writeFileSync(
    join(dist, 'package.json'),
    `${JSON.stringify({ name, version, private: true, type }, null, 2)}\n`,
  );
}

try {
  // What an earlier build left must not hide that something is missing now.
  rmSync(dist, { recursive: true, force: true });
  compile();
  compiled.forEach(copyBesideModules);
  writePackage();
  chmodSync(join(dist, 'cli/index.js'), 0o755);
  await Promise.all([
    buildWeb({ outDir: join(dist, 'web'), minify: true }),
    buildClientPackage(join(dist, 'client')),
  ]);
  console.log('Built into dist/.');
} catch (error) {
  console.error(`The build failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
