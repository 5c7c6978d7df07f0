import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';

export const root = fileURLToPath(new URL('../', import.meta.url));

const sources = ['api', 'workers', 'realtime', 'common', 'migrations', 'cli'];

function newest(folder: string): number {
  const times = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => statSync(join(entry.parentPath, entry.name)).mtimeMs);
  return Math.max(0, ...times);
}

/** Builds dist/ unless it is newer than every source: benchmarks measure what production runs. */
export function buildIfStale(): void {
  const builtAt = statSync(join(root, 'dist/package.json'), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (sources.every((folder) => newest(join(root, folder)) < builtAt)) return;
  const { status } = spawnSync('npm', ['run', '--silent', 'build'], { cwd: root, stdio: 'inherit' });
  if (status !== 0) throw new Error('npm run build failed: mend that first.');
}
