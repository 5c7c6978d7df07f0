import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { usageOf } from '../measure/processes.ts';

/** What autocannon found of one URL. */
export interface Reads {
  readonly perSecond: number;
  /** milliseconds */
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly errors: number;
  /** answered 503 */
  readonly shed: number;
  /** CPU of the generator, milliseconds a request */
  readonly generatorCpuMs: number;
}

interface AutocannonResult {
  readonly requests: { readonly total: number };
  readonly duration: number;
  readonly latency: { readonly p50: number; readonly p99: number; readonly p99_9: number };
  readonly errors: number;
  readonly timeouts: number;
  readonly non2xx: number;
  readonly statusCodeStats: Readonly<Record<string, { readonly count: number }>>;
}

const WATCH_MS = 100;

/** What is to be read, and how fast. */
export interface ReadOrder {
  readonly url: string;
  readonly connections: number;
  readonly seconds: number;
  /** reads a second; without it, as many as the connections carry */
  readonly rate?: number;
  /** what each connection asks for, in turn; without them, the URL alone */
  readonly requests?: readonly {
    readonly path: string;
    readonly headers?: Readonly<Record<string, string>>;
  }[];
}

const generator = fileURLToPath(new URL('read-load.ts', import.meta.url));

/** Reads over kept-alive connections with autocannon, in a process of its own. */
export async function readRepeatedly(order: ReadOrder): Promise<Reads> {
  const child = spawn(process.execPath, ['--import', 'tsx', generator], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  child.stdin.end(JSON.stringify(order));
  let cpuMs = 0;
  const watch = setInterval(() => (cpuMs = Math.max(cpuMs, usageOf(child.pid ?? 0).cpuMs)), WATCH_MS);
  let output = '';
  for await (const chunk of child.stdout) output += String(chunk);
  clearInterval(watch);
  const result = JSON.parse(output) as AutocannonResult;
  return {
    perSecond: result.requests.total / result.duration,
    p50: result.latency.p50,
    p99: result.latency.p99,
    p999: result.latency.p99_9,
    errors: result.errors + result.timeouts + result.non2xx,
    shed: result.statusCodeStats['503']?.count ?? 0,
    generatorCpuMs: cpuMs / result.requests.total,
  };
}
