import { randomUUID } from 'node:crypto';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, StackError } from './errors.ts';
import { inspectProcess } from './processes.ts';

interface Owner {
  pid: number;
  /** See `ProcessInfo.startedAt`: in a container every run may have the same pid. */
  startedAt: string;
  /** Where it answers, as far as it told. */
  address?: string | undefined;
}

/** The folder has an owner that is alive. */
export class AlreadyRunning extends StackError {
  override name = 'AlreadyRunning';

  constructor(folder: string, { pid, address }: Owner) {
    super(
      `Laurel is already running${address === undefined ? '' : ` at ${address}`} (process ${pid}, data folder ${folder}).\n` +
        `  To stop it: Ctrl-C in its terminal, or \`kill ${pid}\`.\n` +
        '  To run another one beside it: `PORT=0 DATA_DIR=<another folder> npm start`.',
    );
  }
}

const fileName = 'owner.json';

/**
 * Makes this process the only owner of `folder` until `release` is called or the process ends, however it
 * ends: the lock of a process that is gone does not count.
 *
 * @param address where this process answers, told to those who come second
 * @throws AlreadyRunning if the owner is alive
 */
export async function acquireLock(folder: string, address?: string): Promise<{ release(): Promise<void> }> {
  const file = join(folder, fileName);
  const self = await inspectProcess(process.pid);
  const owner: Owner = { pid: process.pid, startedAt: self?.startedAt ?? '', address };
  const draft = join(folder, `${fileName}.${randomUUID()}`);
  await writeFile(draft, JSON.stringify(owner), { mode: 0o644 });
  try {
    // A link appears with its whole content or not at all, and never replaces one that is there.
    while (!(await tryLink(draft, file))) {
      await refuseIfOwned(folder);
      await discardStale(file);
    }
  } finally {
    await rm(draft, { force: true });
  }
  return { release: () => rm(file, { force: true }) };
}

/** @throws AlreadyRunning if `folder` has an owner that is alive */
export async function refuseIfOwned(folder: string): Promise<void> {
  const owner = await liveOwner(folder);
  if (owner) throw new AlreadyRunning(folder, owner);
}

/** @returns the owner of `folder`, if it is alive */
export async function liveOwner(folder: string): Promise<Owner | undefined> {
  const owner = parse(await readFile(join(folder, fileName), 'utf8').catch(() => ''));
  if (!owner) return undefined;
  const found = await inspectProcess(owner.pid);
  return found?.startedAt === owner.startedAt ? owner : undefined;
}

/** Two starters may both see the same stale lock; the slower one must not throw away the new lock of the faster. */
async function discardStale(file: string): Promise<void> {
  const aside = `${file}.${randomUUID()}`;
  try {
    await rename(file, aside);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  const taken = parse(await readFile(aside, 'utf8'));
  const found = taken && (await inspectProcess(taken.pid));
  if (taken && found?.startedAt === taken.startedAt) await tryLink(aside, file);
  await rm(aside, { force: true });
}

async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

function parse(text: string): Owner | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || !('pid' in value) || !('startedAt' in value))
      return undefined;
    const { pid, startedAt } = value;
    const address = 'address' in value && typeof value.address === 'string' ? value.address : undefined;
    return typeof pid === 'number' && typeof startedAt === 'string' ? { pid, startedAt, address } : undefined;
  } catch {
    return undefined; // cut short by a crash: nobody holds it
  }
}
