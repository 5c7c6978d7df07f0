import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { buildSdk } from './client-package.ts';

const WEB = fileURLToPath(new URL('../web/', import.meta.url));

/** Served as they are. */
const COPIED = ['index.html', 'icon.svg'];

/**
 * Writes the public page into `outDir`, which is made if it is missing: index.html, main.js, theme.js (run
 * before the first paint), styles.css, icon.svg, and the client SDK, sdk.js.
 *
 * @throws where a module does not build; esbuild's message names the line
 */
export async function buildWeb(options: { outDir: string; minify: boolean }): Promise<void> {
  const { outDir, minify } = options;
  await mkdir(outDir, { recursive: true });
  const shared = { bundle: true, minify, sourcemap: !minify, target: 'es2022', logLevel: 'warning' } as const;
  await Promise.all([
    build({
      ...shared,
      entryPoints: [join(WEB, 'main.ts')],
      outfile: join(outDir, 'main.js'),
      format: 'esm',
    }),
    build({
      ...shared,
      entryPoints: [join(WEB, 'theme-early.ts')],
      outfile: join(outDir, 'theme.js'),
      format: 'iife',
    }),
    build({ ...shared, entryPoints: [join(WEB, 'styles/index.css')], outfile: join(outDir, 'styles.css') }),
    buildSdk(join(outDir, 'sdk.js'), minify),
    ...COPIED.map((name) => copyFile(join(WEB, name), join(outDir, name))),
  ]);
}
