import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../dev/ports.ts';
import { root } from './build.ts';
import type { Options } from './options.ts';
import { span, type Report } from './report.ts';

const DEADLINE_MS = 60_000;

interface Starts {
  readonly first: number;
  readonly second: number;
  /** from SIGTERM to the end of the process */
  readonly stop: number;
}

/** `npm start` on an empty folder and on one with data, until it says that it can serve. */
export async function startup(options: Options): Promise<Report> {
  const runs: Starts[] = [];
  for (let i = 0; i < options.repeat; i += 1) {
    const dataDir = join(tmpdir(), `laurel-bench-start-${process.pid}-${i}`);
    try {
      const first = await startOnce(dataDir);
      const second = await startOnce(dataDir);
      runs.push({ first: first.readyMs, second: second.readyMs, stop: second.stopMs });
    } finally {
      await rm(dataDir, { recursive: true, force: true });
    }
  }
  const seconds = (of: (run: Starts) => number): string => span(runs.map((run) => of(run) / 1000));
  return {
    name: 'startup',
    command: 'npm run bench -- startup',
    tables: [
      {
        title: `\`npm start\` until /readyz answers 200, seconds, least – most of ${options.repeat}`,
        columns: ['', 'seconds'],
        rows: [
          ['first run (makes the database, its schema, secrets and users)', seconds(({ first }) => first)],
          ['second run', seconds(({ second }) => second)],
          ['from SIGTERM to the end', seconds(({ stop }) => stop)],
        ],
      },
    ],
    notes: ['npm’s own start is included.'],
    data: runs,
    faults: [],
  };
}

async function startOnce(dataDir: string): Promise<{ readyMs: number; stopMs: number }> {
  const port = await freePort();
  const begun = performance.now();
  // A group of its own, so that a signal reaches the service as a terminal's would.
  const child = spawn('npm', ['start'], {
    cwd: root,
    detached: true,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], DATA_DIR: dataDir, PORT: String(port) },
    stdio: 'ignore',
  });
  const ended = once(child, 'exit');
  try {
    for (;;) {
      const response = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined);
      await response?.arrayBuffer();
      if (response?.ok) break;
      if (child.exitCode !== null) throw new Error('npm start ended. Run it by hand to see why.');
      if (performance.now() - begun > DEADLINE_MS)
        throw new Error('npm start was not ready within a minute.');
      await delay(10);
    }
    const readyMs = performance.now() - begun;
    const stopping = performance.now();
    process.kill(-(child.pid ?? 0), 'SIGTERM');
    await ended;
    return { readyMs, stopMs: performance.now() - stopping };
  } catch (error) {
    if (child.exitCode === null && child.pid !== undefined) process.kill(-child.pid, 'SIGTERM');
    throw error;
  }
}
