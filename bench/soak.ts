import { setTimeout as delay } from 'node:timers/promises';
import { CHANGES_PER_SECOND, gatherAudience, type Audience, type Heard } from './audience.ts';
import { usageOf } from './measure/processes.ts';
import { Scrape } from './measure/scrape.ts';
import type { Options } from './options.ts';
import { figure, type Report } from './report.ts';
import { prepare, startStores, storesAt } from './stores.ts';

export interface SoakPlan {
  readonly fromSources?: boolean;
  /** stores that run already; else the benchmark starts its own */
  readonly urls?: { readonly databaseUrl: string; readonly redisUrl: string };
}

interface Sample {
  readonly minutes: number;
  readonly rssMb: number;
  /** of the JavaScript heap, what is in use or has not been looked at since */
  readonly heapMb: number;
}

/** Of all clients, how many leave and come back in a minute. */
const RECONNECTING = 0.1;
/** A smoke run has a second for it. */
const RECONNECTING_SMOKE = 20;
const SAMPLES = 120;

/** A live board for a long time: clients come and go, and memory must not grow. */
export async function soak(options: Options, plan: SoakPlan = {}): Promise<Report> {
  const [clients = 0] = options.clients;
  const reconnecting = options.size === 'smoke' ? RECONNECTING_SMOKE : RECONNECTING;
  const stores = plan.urls ? await storesAt(plan.urls.databaseUrl, plan.urls.redisUrl) : await startStores();
  try {
    if (plan.urls) await prepare(stores.databaseUrl);
    const audience = await gatherAudience(stores, { clients, fromSources: plan.fromSources === true });
    try {
      const [heard, samples] = await Promise.all([
        audience.listen(options.seconds, (clients * reconnecting) / 60),
        sample(audience, options.seconds),
      ]);
      return report(options, clients, heard, samples, audience.faults);
    } finally {
      await audience.stop();
    }
  } finally {
    await stores.stop();
  }
}

async function sample({ server }: Audience, seconds: number): Promise<Sample[]> {
  const samples: Sample[] = [];
  const begun = performance.now();
  for (let n = 0; n <= SAMPLES; n += 1) {
    await delay(Math.max(0, begun + (n * seconds * 1000) / SAMPLES - performance.now()));
    const { rssMb } = usageOf(server.pid);
    const heapMb = (await Scrape.of(server.url)).value('nodejs_heap_size_used_bytes') / 2 ** 20;
    samples.push({ minutes: (performance.now() - begun) / 60_000, rssMb, heapMb });
  }
  return samples;
}

/** The slope of the line that fits samples best, by least squares: MB a minute. */
function growthOf(samples: readonly Sample[]): number {
  const mean = (of: (one: Sample) => number): number =>
    samples.reduce((sum, one) => sum + of(one), 0) / samples.length;
  const [x, y] = [mean(({ minutes }) => minutes), mean(({ rssMb }) => rssMb)];
  const covariance = mean(({ minutes, rssMb }) => (minutes - x) * (rssMb - y));
  return covariance / mean(({ minutes }) => (minutes - x) ** 2);
}

function report(
  options: Options,
  clients: number,
  heard: Heard,
  samples: readonly Sample[],
  faults: readonly string[],
): Report {
  const half = samples.slice(Math.floor(samples.length / 2));
  const leastHeap = (of: readonly Sample[]): string => figure(Math.min(...of.map(({ heapMb }) => heapMb)));
  const rss = (one: Sample | undefined): string => figure(one?.rssMb ?? 0);
  return {
    name: 'soak',
    command: `npm run bench -- fanout --soak --clients ${clients} --seconds ${options.seconds}`,
    tables: [
      {
        title: `${figure(clients)} clients of one realtime process, ${figure(options.seconds / 60)} minutes, ${CHANGES_PER_SECOND} changes a second`,
        columns: ['', 'figure'],
        rows: [
          ['reconnections', figure(heard.reconnected)],
          ['errors', figure(heard.errors)],
          ['RSS at the start, MB', rss(samples[0])],
          ['RSS in the middle, MB', rss(half[0])],
          ['RSS at the end, MB', rss(samples.at(-1))],
          ['most RSS, MB', figure(Math.max(...samples.map(({ rssMb }) => rssMb)))],
          ['growth, least squares, MB a minute', figure(growthOf(samples))],
          ['growth in the second half, MB a minute', figure(growthOf(half))],
          ['least heap in use in the first half, MB', leastHeap(samples.slice(0, half.length))],
          ['least heap in use in the second half, MB', leastHeap(half)],
          ['commit to receipt, p50 ms', figure(heard.lateness.p50)],
          ['commit to receipt, p99 ms', figure(heard.lateness.p99)],
          ['frames a second to each client', figure(heard.framesPerSecond)],
          ['CPU, cores: realtime', figure(heard.cpu.realtime)],
          ['CPU, cores: the clients', figure(heard.cpu.clients)],
        ],
      },
    ],
    notes: [
      'A tenth of the clients leave and come back in a minute.',
      'Errors: connections lost or refused, completions not answered 200, and frames that do not follow on what their client had.',
      'The least heap in use is what is left after a garbage collection: a leak would show there. RSS has the pages, too, which fill less well while clients come and go.',
    ],
    data: { heard, samples },
    faults,
  };
}
