import { execFile, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A process of the built service. */
export interface RunningService {
  readonly name: string;
  /** where it listens, as its log says */
  readonly url: string;
  /** Sends SIGTERM and waits for the end. */
  stop(): Promise<Ended & { readonly ms: number; readonly log: string }>;
  /** For clean-up after a failed test. */
  kill(): Promise<void>;
}

const READY_MS = 30_000;

/** Starts a tier, and waits until its log names the port on which it listens. */
export async function startService(
  name: string,
  command: readonly string[],
  cwd: string,
  env: Record<string, string>,
): Promise<RunningService> {
  const [file = '', ...args] = command;
  const child = spawn(file, args, {
    cwd,
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const log: string[] = [];
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
  const listening = new Promise<number>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        log.push(line);
        const port = portIn(line);
        if (port !== undefined) resolve(port);
      });
    }
  });
  const timeout = AbortSignal.timeout(READY_MS);
  const tooLate = new Promise<never>((_resolve, reject) => {
    timeout.addEventListener('abort', () => reject(new Error(`${name} is not ready:\n${log.join('\n')}`)));
  });
  tooLate.catch(() => undefined); // it also fires when the race is long won
  const endedEarly = ended.then(({ code }): never => {
    throw new Error(`${name} ended with code ${code}:\n${log.join('\n')}`);
  });
  endedEarly.catch(() => undefined);
  let port: number;
  try {
    port = await Promise.race([listening, endedEarly, tooLate]);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  return {
    name,
    url: `http://127.0.0.1:${port}`,
    async stop() {
      const begin = Date.now();
      child.kill('SIGTERM');
      return { ...(await ended), ms: Date.now() - begin, log: log.join('\n') };
    },
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

function portIn(line: string): number | undefined {
  try {
    const { port } = JSON.parse(line) as { port?: unknown };
    return typeof port === 'number' ? port : undefined;
  } catch {
    return undefined; // not one of the service's own lines
  }
}

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end, whatever its exit code. */
export function runCommand(
  command: readonly string[],
  cwd: string,
  env: Record<string, string>,
): Promise<CommandResult> {
  const [file = '', ...args] = command;
  return new Promise((resolve) => {
    execFile(file, args, { cwd, env: { PATH: process.env['PATH'], ...env } }, (error, stdout, stderr) => {
      const code = typeof error?.code === 'number' ? error.code : error ? -1 : 0;
      resolve({ code, stdout, stderr });
    });
  });
}
