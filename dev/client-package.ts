import { spawnSync } from 'node:child_process';
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type BuildOptions, type Metafile } from 'esbuild';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const CLIENT = join(ROOT, 'client');

/** One ES module that holds the SDK and what it needs, for browsers. */
const forBrowsers: BuildOptions = {
  absWorkingDir: ROOT,
  entryPoints: [join(CLIENT, 'index.ts')],
  bundle: true,
  format: 'esm',
  target: 'es2022',
  logLevel: 'warning',
};

/** The same for Node: its WebSocket comes from the `ws` package, which is CommonJS and requires Node's own modules. */
const forNode: BuildOptions = {
  ...forBrowsers,
  platform: 'node',
  target: 'node20',
  banner: {
    js: "import { createRequire as laurelRequire } from 'node:module';\nconst require = laurelRequire(import.meta.url);",
  },
};

/** Writes the SDK as the one module that a page loads from its Laurel: `/sdk.js`. */
export async function buildSdk(outfile: string, minify: boolean): Promise<void> {
  await build({ ...forBrowsers, outfile, minify, sourcemap: !minify });
}

/**
 * Writes the package `@laurel/client` into `outDir`, which is emptied first. It needs no other package, so that it can be
 * installed without a registry.
 *
 * @throws where the sources do not compile
 */
export async function buildClientPackage(outDir: string): Promise<void> {
  await rm(outDir, { recursive: true, force: true });
  const dist = join(outDir, 'dist');
  await mkdir(dist, { recursive: true });
  compileTypes(dist);
  const [browser, node] = await Promise.all([
    build({ ...forBrowsers, outfile: join(dist, 'index.js'), metafile: true }),
    build({ ...forNode, outfile: join(dist, 'node.js'), metafile: true }),
    buildSdk(join(dist, 'sdk.js'), true),
  ]);
  await Promise.all([
    ...['package.json', 'README.md'].map((name) => copyFile(join(CLIENT, name), join(outDir, name))),
    copyFile(join(ROOT, 'LICENSE'), join(outDir, 'LICENSE')),
    writeFile(join(dist, 'THIRD-PARTY-LICENSES.txt'), await licensesOf([browser.metafile, node.metafile])),
  ]);
}

/**
 * Packs `@laurel/client` as `npm publish` would.
 *
 * @param folder where the package is built, and the tarball is put beside it
 * @returns the path of the tarball
 */
export async function packClient(folder: string): Promise<string> {
  await buildClientPackage(join(folder, 'client'));
  const { status, stdout, stderr } = spawnSync(
    'npm',
    ['pack', '--json', '--ignore-scripts', '--pack-destination', folder, join(folder, 'client')],
    { encoding: 'utf8', cwd: folder },
  );
  if (status !== 0) throw new Error(`npm pack failed:\n${stderr}`);
  const [packed] = JSON.parse(stdout) as { filename: string }[];
  if (!packed) throw new Error('npm pack made no tarball');
  return join(folder, packed.filename);
}

function compileTypes(outDir: string): void {
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
  const { status, stdout } = spawnSync(
    process.execPath,
    [tsc, '-p', join(CLIENT, 'tsconfig.build.json'), '--outDir', outDir],
    { cwd: ROOT, encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`the types of the SDK do not compile:\n${stdout}`);
}

/** The licenses of the packages that were bundled, which ask to be passed on. */
async function licensesOf(metafiles: readonly Metafile[]): Promise<string> {
  const inputs = metafiles.flatMap(({ inputs: files }) => Object.keys(files));
  const packages = new Set(
    inputs.flatMap((file) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1] ?? []),
  );
  const texts = [...packages].sort().map(async (folder) => {
    const read = (name: string): Promise<string> => readFile(join(ROOT, folder, name), 'utf8');
    const { name, version, license } = JSON.parse(await read('package.json')) as Record<string, string>;
    const text = await read('LICENSE')
      .catch(() => read('LICENSE.md'))
      .catch(() => '');
    return `${name} ${version} (${license})\n\n${text.trim()}\n`;
  });
  return (await Promise.all(texts)).join(`\n${'-'.repeat(80)}\n\n`);
}
