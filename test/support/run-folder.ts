import { chmod, mkdir, mkdtemp, readdir, realpath, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { acquireLock, liveOwner } from '../../dev/lock.ts';
import { endServersIn } from '../../dev/processes.ts';

const prefix = 'laurel-test-';

/** Where the process that began a run in parallel tells the others its folder. */
const shared = 'LAUREL_TEST_FOLDER';

let folder: Promise<string> | undefined;
let count = 0;

/** A new empty folder that vanishes at the end of the run. PostgreSQL's user can get through to it. */
export async function temporaryFolder(name: string): Promise<string> {
  const path = join(process.env[shared] ?? (await runFolder()), `${name}-${process.pid}-${(count += 1)}`);
  await mkdir(path);
  await chmod(path, 0o711);
  return path;
}

/** The other processes of a run in parallel put their temporary folders into this one's, which removes them. */
export async function shareRunFolder(): Promise<void> {
  process.env[shared] = await runFolder();
}

export async function removeRunFolder(): Promise<void> {
  if (!folder) return;
  const path = await folder;
  folder = undefined;
  await endServersIn(path); // of tests that failed before they could stop theirs
  await rm(path, { recursive: true, force: true });
}

function runFolder(): Promise<string> {
  return (folder ??= createRunFolder());
}

async function createRunFolder(): Promise<string> {
  await removeAbandoned();
  const path = await realpath(await mkdtemp(join(tmpdir(), prefix)));
  await chmod(path, 0o711);
  await acquireLock(path);
  return path;
}

/** A run that was killed leaves its servers at work in memory, and some 50 MB on the disk. */
async function removeAbandoned(): Promise<void> {
  const names = (await readdir(tmpdir())).filter((name) => name.startsWith(prefix));
  for (const name of names) {
    const path = await realpath(join(tmpdir(), name)).catch(() => undefined);
    if (path === undefined || (await liveOwner(path))) continue;
    const { mtimeMs, uid } = await stat(path);
    // A folder made a moment ago may belong to a run that is just about to lock it.
    if (Date.now() - mtimeMs < 60_000 || uid !== process.getuid?.()) continue;
    await endServersIn(path, 0);
    await rm(path, { recursive: true, force: true });
  }
}
