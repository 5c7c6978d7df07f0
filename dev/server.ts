import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readFile, rename, stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, StackError } from './errors.ts';
import { freePort } from './ports.ts';
import { endServersIn, killServersIn, signal } from './processes.ts';

export type Log = (line: string) => void;

export interface ServerSpec {
  readonly name: string;
  /** Its data folder, and its working directory. */
  readonly home: string;
  readonly logFile: string;
  readonly command: (port: number) => { file: string; args: string[]; uid?: number; gid?: number };
  /** The signal on which it writes everything down and ends, without waiting for its clients. */
  readonly stopSignal: NodeJS.Signals;
  /** Runs before each start, when it is certain that no server works on `home`. */
  readonly prepare?: () => Promise<void>;
  /** Resolves once the server on `port`, which is process `pid`, answers; rejects if it does not answer yet. */
  readonly check: (port: number, pid: number) => Promise<void>;
}

export interface ServerOptions {
  /** The port of the run before: clients that know it find the server again. */
  port?: number | undefined;
  /** Start it again when it ends by itself, as a service manager would in production. */
  keepAlive?: boolean;
  log?: Log | undefined;
}

interface Running {
  readonly pid: number;
  readonly exited: Promise<string>;
  hasExited: boolean;
  /** Where this run's lines begin in the log file. */
  readonly logStart: number;
}

/** Recovery after a crash, and loading a large append-only file, are allowed to take this long. */
const readyTimeoutMs = 120_000;
/** After this a server that was asked to stop is killed, so that all is over within 3 s. */
const stopGraceMs = 2_700;
const maxLogBytes = 10_000_000;

/** A child database server with an orderly end. One instance may be started and stopped many times. */
export class ServerProcess {
  private running: Running | undefined;
  private fixedPort: number | undefined;
  private stopping: AbortController | undefined;
  private launching: Promise<void> | undefined;
  private readonly log: Log;

  constructor(
    private readonly spec: ServerSpec,
    private readonly options: ServerOptions,
  ) {
    this.log = options.log ?? (() => undefined);
  }

  /** @throws StackError before the first start */
  get port(): number {
    if (this.fixedPort === undefined) throw new StackError(`${this.spec.name} has not been started yet.`);
    return this.fixedPort;
  }

  /** undefined while the server is not running */
  get pid(): number | undefined {
    return this.running && !this.running.hasExited ? this.running.pid : undefined;
  }

  /** Resolves when the server answers. The first start chooses the port, later ones keep it. */
  async start(): Promise<void> {
    if (this.pid !== undefined) return;
    this.stopping = new AbortController();
    this.launching = this.launch();
    await this.launching;
  }

  /** Orderly, and over within about 3 s whatever happens. May be called any number of times. */
  async stop(): Promise<void> {
    this.stopping?.abort();
    await this.launching?.catch(() => undefined);
    const { running } = this;
    if (!running || running.hasExited) return;
    signal(running.pid, this.spec.stopSignal);
    signal(running.pid, 'SIGCONT');
    const timer = new AbortController();
    const inTime = await Promise.race([
      running.exited.then(() => true),
      delay(stopGraceMs, false, { signal: timer.signal }).catch(() => false),
    ]);
    timer.abort();
    if (!inTime) {
      this.log(`${this.spec.name} did not stop within ${stopGraceMs} ms and is killed`);
      signal(running.pid, 'SIGKILL');
      await killServersIn(this.spec.home); // and its helper processes
      await running.exited;
    }
  }

  /** As by the out-of-memory killer. With `keepAlive` it comes back by itself. */
  async kill9(): Promise<void> {
    const { running } = this;
    if (!running) return;
    signal(running.pid, 'SIGKILL');
    await running.exited;
  }

  private async launch(): Promise<void> {
    const leftOver = await endServersIn(this.spec.home);
    if (leftOver > 0) this.log(`${this.spec.name}: ended a server that an earlier run left behind`);
    await this.spec.prepare?.();
    for (let attempt = 1; ; attempt += 1) {
      const port = this.fixedPort ?? (await freePort(attempt === 1 ? this.options.port : undefined));
      const running = await this.spawn(port);
      this.running = running;
      try {
        await this.untilReady(running, port);
      } catch (error) {
        if (!running.hasExited) signal(running.pid, 'SIGKILL');
        await running.exited;
        // Somebody took the port between our look and the server's start.
        const portTaken = /address already in use/i.test(messageOf(error));
        if (portTaken && this.fixedPort === undefined && attempt < 5) continue;
        throw error;
      }
      this.fixedPort = port;
      if (this.options.keepAlive) void this.watch(running);
      return;
    }
  }

  private async spawn(port: number): Promise<Running> {
    const { name, home, logFile } = this.spec;
    const { file, args, ...runAs } = this.spec.command(port);
    const size = await stat(logFile).then(
      (found) => found.size,
      () => 0,
    );
    if (size > maxLogBytes) await rename(logFile, `${logFile}.1`);
    // A file and not a pipe: it outlives us, so that a server whose owner was killed can still write to it.
    const output = openSync(logFile, 'a', 0o600);
    let child: ChildProcess;
    try {
      child = spawn(file, args, {
        cwd: home,
        // A session of its own: the terminal's Ctrl-C and a signal to our group must reach us only, since
        // our tiers still need the stores while they finish.
        detached: true,
        stdio: ['ignore', output, output],
        ...runAs,
      });
    } finally {
      closeSync(output);
    }
    const exited = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(error.message));
      child.once('exit', (code, by) => resolve(by ?? `exit code ${code}`));
    });
    if (child.pid === undefined) {
      throw new StackError(`${name} cannot be started from ${file}: ${await exited}`);
    }
    const { pid } = child;
    const running: Running = {
      pid,
      exited: exited.then((how) => {
        running.hasExited = true;
        alive.delete(pid);
        return how;
      }),
      hasExited: false,
      logStart: size > maxLogBytes ? 0 : size,
    };
    alive.set(pid, this.spec.stopSignal);
    return running;
  }

  private async untilReady(running: Running, port: number): Promise<void> {
    const { name, logFile } = this.spec;
    const begin = Date.now();
    let said = false;
    for (let wait = 5; ; wait = Math.min(wait * 1.5, 200)) {
      let cause: unknown;
      try {
        await this.spec.check(port, running.pid);
        if (!running.hasExited) return;
      } catch (error) {
        cause = error;
      }
      if (running.hasExited) {
        const log = (await readFile(logFile)).subarray(running.logStart).toString('utf8').trim();
        throw new StackError(
          `${name} ended while it started (${await running.exited}). ` +
            `The last lines of ${logFile}:\n${log.split('\n').slice(-12).join('\n')}`,
        );
      }
      if (this.stopping?.signal.aborted) throw new StackError(`${name} was stopped while it started.`);
      const waited = Date.now() - begin;
      if (waited > readyTimeoutMs) {
        throw new StackError(`${name} did not answer within ${readyTimeoutMs / 1000} s: ${messageOf(cause)}`);
      }
      if (waited > 3_000 && !said) {
        said = true;
        this.log(`${name} is not ready yet (${messageOf(cause)}); waiting`);
      }
      await delay(wait);
    }
  }

  private async watch(running: Running): Promise<void> {
    const how = await running.exited;
    const stopping = this.stopping?.signal;
    if (!stopping || stopping.aborted) return;
    this.log(`${this.spec.name} ended by itself (${how}); starting it again`);
    for (let wait = 100; !stopping.aborted; wait = Math.min(wait * 2, 5_000)) {
      try {
        this.launching = this.launch();
        await this.launching;
        this.log(`${this.spec.name} is back`);
        return;
      } catch (error) {
        this.log(`${this.spec.name} does not start: ${messageOf(error)}`);
        await delay(wait, undefined, { signal: stopping }).catch(() => undefined);
      }
    }
  }
}

/**
 * `process.exit()` and uncaught errors leave no time to wait, but they do let us send a signal, and both
 * servers finish properly on their own. After SIGKILL of our process the next start cleans up.
 */
const alive = new Map<number, NodeJS.Signals>();
process.on('exit', () => {
  for (const [pid, stopSignal] of alive) signal(pid, stopSignal);
});
