/** Reads by autocannon in a process of its own: takes its order as JSON on standard input, and prints what it found as JSON. */
import { createRequire } from 'node:module';
import { text } from 'node:stream/consumers';
import type { ReadOrder } from './reads.ts';

/** autocannon brings no types. */
type Autocannon = (options: {
  url: string;
  connections: number;
  duration: number;
  overallRate?: number;
  requests?: readonly { path: string; headers?: Readonly<Record<string, string>> }[];
}) => Promise<unknown>;

const autocannon = createRequire(import.meta.url)('autocannon') as Autocannon;
const { url, connections, seconds, rate, requests } = JSON.parse(await text(process.stdin)) as ReadOrder;
const result = await autocannon({
  url,
  connections,
  duration: seconds,
  ...(rate !== undefined && { overallRate: rate }),
  ...(requests !== undefined && { requests }),
});
process.stdout.write(JSON.stringify(result));
