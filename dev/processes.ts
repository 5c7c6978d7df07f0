import { execFile } from 'node:child_process';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { codeOf, StackError } from './errors.ts';

const run = promisify(execFile);

export interface ProcessInfo {
  readonly pid: number;
  /** Opaque; together with the pid it tells a process from a later one that was given the same number. */
  readonly startedAt: string;
  readonly command: string;
  /** Known on Linux only, and only for processes that we may inspect. */
  readonly cwd: string | undefined;
}

const hasProc = process.platform === 'linux';

/** @returns undefined if there is no such process, or if it has ended and nobody has collected it yet. */
export async function inspectProcess(pid: number): Promise<ProcessInfo | undefined> {
  if (hasProc) return inspectThroughProc(pid);
  return (await listThroughPs(['-p', String(pid)])).find((found) => found.pid === pid);
}

async function listProcesses(): Promise<ProcessInfo[]> {
  if (!hasProc) return listThroughPs(['-A']);
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(pids.map(inspectThroughProc));
  return found.filter((info) => info !== undefined);
}

async function inspectThroughProc(pid: number): Promise<ProcessInfo | undefined> {
  try {
    const [stat, cmdline] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile(`/proc/${pid}/cmdline`, 'utf8'),
    ]);
    // The second field is the program's name in brackets and may itself hold blanks and brackets.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [state, startedAt] = [fields[0], fields[19]];
    if (state === 'Z' || state === 'X' || startedAt === undefined) return undefined;
    const command = cmdline.replaceAll('\0', ' ').trim();
    const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => undefined);
    return { pid, startedAt, command, cwd };
  } catch {
    return undefined; // gone, or went while we looked
  }
}

async function listThroughPs(selection: string[]): Promise<ProcessInfo[]> {
  const { stdout } = await run('ps', ['-ww', ...selection, '-o', 'pid=,stat=,lstart=,command='], {
    maxBuffer: 1 << 24,
    env: { ...process.env, LC_ALL: 'C' }, // `lstart` is five words in this locale
  }).catch(() => ({ stdout: '' })); // ps exits with 1 when it finds none
  return stdout.split('\n').flatMap((line) => {
    const match = /^\s*(\d+)\s+(\S+)\s+(\S+\s+\S+\s+\S+\s+\S+\s+\S+)\s+(.*)$/.exec(line);
    if (!match) return [];
    const [, pid = '', state = '', startedAt = '', command = ''] = match;
    return state.startsWith('Z') ? [] : [{ pid: Number(pid), startedAt, command, cwd: undefined }];
  });
}

const serverProgram = /^(\S*\/)?(postgres|initdb|redis-|valkey-)/;

/**
 * The database servers, with their helper processes, that work on `folder` or below it.
 *
 * A pid file can be stale, or be missing because the crash came before it was written. The folder cannot:
 * both servers make it their working directory, and have it in their arguments at the start. The name is
 * asked for too, so that a shell or an editor that somebody opened there is left alone.
 */
export async function serversIn(folder: string): Promise<ProcessInfo[]> {
  const inFolder = (path: string) => path === folder || path.startsWith(`${folder}/`);
  const inArguments = (command: string) =>
    command.endsWith(folder) || command.includes(`${folder} `) || command.includes(`${folder}/`);
  return (await listProcesses()).filter(
    ({ command, cwd }) =>
      serverProgram.test(command) && ((cwd !== undefined && inFolder(cwd)) || inArguments(command)),
  );
}

/** @returns whether there was such a process that we may signal */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

/** Whether the number is taken, be it by a process that has ended and that nobody has collected yet. */
export function exists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}

/**
 * Ends whatever servers are still at work on `folder`: first politely, and after `graceMs` with SIGKILL.
 * Only call it while holding the folder's lock, so that these are known to be nobody's.
 *
 * @returns how many processes it found
 * @throws StackError if some cannot be ended, for instance because they belong to another user
 */
export async function endServersIn(folder: string, graceMs = 10_000): Promise<number> {
  const found = await serversIn(folder);
  if (found.length === 0) return 0;
  for (const { pid, command } of found) {
    const isPostmaster = /\s-D\s/.test(command);
    // Postgres's helpers follow their postmaster, whether it shuts down or was killed; signalled one by one
    // they would look like crashes to it.
    if (isPostmaster || !/(^|\/)postgres/.test(command)) {
      signal(pid, isPostmaster ? 'SIGINT' : 'SIGTERM');
      signal(pid, 'SIGCONT'); // one that is frozen hears nothing
    }
  }
  if (await noServersIn(folder, graceMs)) return found.length;
  await killServersIn(folder);
  return found.length;
}

/** @throws StackError if some are left after two seconds */
export async function killServersIn(folder: string): Promise<void> {
  for (const { pid } of await serversIn(folder)) signal(pid, 'SIGKILL');
  if (await noServersIn(folder, 2_000)) return;
  const left = (await serversIn(folder)).map(({ pid, command }) => `${pid} (${command})`).join(', ');
  throw new StackError(`These processes still work on ${folder} and cannot be ended: ${left}. End them.`);
}

async function noServersIn(folder: string, withinMs: number): Promise<boolean> {
  for (const end = Date.now() + withinMs; ; await delay(20)) {
    if ((await serversIn(folder)).length === 0) return true;
    if (Date.now() > end) return false;
  }
}
