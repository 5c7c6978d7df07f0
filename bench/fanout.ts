import { setTimeout as delay } from 'node:timers/promises';
import { forkGenerator, type Generator } from './generators/generator.ts';
import { HttpLine } from './generators/http-line.ts';
import type { Joined, MeasureOrder, Received, WatchOrder } from './generators/watch-messages.ts';
import { Milliseconds, type Latency } from './measure/latencies.ts';
import { usageOf } from './measure/processes.ts';
import { Scrape } from './measure/scrape.ts';
import type { Options } from './options.ts';
import { createPlayers, type BenchPlayer } from './players.ts';
import { figure, type Report } from './report.ts';
import { startStores, type BenchStores } from './stores.ts';
import { startSystem } from './system.ts';

interface Watched {
  readonly clients: number;
  readonly connectsPerSecond: number;
  readonly rssBeforeMb: number;
  readonly rssMb: number;
  readonly rssAfterMb: number;
  readonly framesPerSecond: number;
  readonly changesPerSecond: number;
  readonly lateness: Latency;
  readonly loopMs: number;
  /** share of one core that the realtime process used */
  readonly cpuShare: number;
  readonly faults: readonly string[];
}

const CLIENTS_A_GENERATOR = 2500;
const CHANGES_PER_SECOND = 5;
const SETTLE_MS = 2000;

/** Thousands of clients watch one board through one realtime process, while its top 10 changes five times a second. */
export async function fanout(options: Options): Promise<Report> {
  const sizes = options.size === 'smoke' ? [50] : [1000, 5000, 10_000];
  const stores = await startStores();
  try {
    const watched: Watched[] = [];
    for (const clients of sizes) watched.push(await measureFanout(stores, clients, options.seconds));
    return report(options, watched);
  } finally {
    await stores.stop();
  }
}

async function measureFanout(stores: BenchStores, clients: number, seconds: number): Promise<Watched> {
  const system = await startSystem(stores, {
    api: 1,
    workers: 1,
    realtime: 1,
    // Ten players alone make all the changes; and how fast clients can be let in is what is measured.
    env: {
      RATE_LIMIT_COMPLETE_PER_MINUTE: '0',
      RATE_LIMIT_START_PER_MINUTE: '0',
      REALTIME_CONNECTS_PER_SECOND: '0',
    },
  });
  const generators: Generator[] = [];
  const changes = startChanges(system.api[0]?.url ?? '', await createPlayers(stores.databaseUrl, 10));
  try {
    const [server] = system.realtime;
    if (!server) throw new Error('There is no realtime process.');
    const watchers = await createPlayers(stores.databaseUrl, clients);
    await delay(SETTLE_MS);
    const rssBeforeMb = usageOf(server.pid).rssMb;
    for (let first = 0; first < clients; first += CLIENTS_A_GENERATOR)
      generators.push(forkGenerator('./watch.ts'));
    generators.forEach((generator, i) => {
      const tokens = watchers
        .slice(i * CLIENTS_A_GENERATOR, (i + 1) * CLIENTS_A_GENERATOR)
        .map(({ token }) => token);
      const order: WatchOrder = { url: server.url.replace('http', 'ws'), tokens, leaderboard: 'global' };
      generator.send(order);
    });
    const joined = await Promise.all(generators.map((generator) => generator.receive<Joined>()));
    const connectMs = Math.max(...joined.map(({ tookMs }) => tookMs));
    await delay(SETTLE_MS);
    const rssMb = usageOf(server.pid).rssMb;

    await Scrape.of(server.url); // begins the event loop's figures anew
    const [before, changedBefore] = [usageOf(server.pid), changes.made];
    const order: MeasureOrder = { seconds };
    for (const generator of generators) generator.send(order);
    const received = await Promise.all(generators.map((generator) => generator.receive<Received>()));
    const [after, changedAfter] = [usageOf(server.pid), changes.made];
    const { loopDelayP99Ms } = await Scrape.of(server.url);

    const lateness = new Milliseconds();
    for (const { lateness: counts } of received) lateness.merge(counts);
    const total = (of: (one: Received) => number): number => received.reduce((sum, one) => sum + of(one), 0);
    const refused = joined.reduce((sum, one) => sum + one.refused, 0);
    const lost = total((one) => one.lost);
    return {
      clients: joined.reduce((sum, one) => sum + one.joined, 0),
      connectsPerSecond: (clients / connectMs) * 1000,
      rssBeforeMb,
      rssMb,
      rssAfterMb: after.rssMb,
      framesPerSecond: total(({ frames }) => frames) / clients / seconds,
      changesPerSecond: (changedAfter - changedBefore) / seconds,
      lateness: lateness.summarize(),
      loopMs: loopDelayP99Ms,
      cpuShare: (after.cpuMs - before.cpuMs) / (seconds * 1000),
      faults: [
        ...(refused > 0 ? [`${refused} of ${clients} clients were refused`] : []),
        ...(lost > 0 ? [`${lost} of ${clients} clients lost their connection`] : []),
        ...changes.faults,
      ],
    };
  } finally {
    await changes.stop();
    await Promise.all(generators.map((generator) => generator.stop()));
    await system.stop();
  }
}

/** Has ten players play in turn, so that the top 10, which they are, changes at a steady rate. */
function startChanges(url: string, players: readonly BenchPlayer[]) {
  const line = new HttpLine(url);
  const faults: string[] = [];
  let made = 0;
  let over = false;
  const run = async (): Promise<void> => {
    const begun = performance.now();
    for (let n = 0; !over; n += 1) {
      const token = players[n % players.length]?.token ?? '';
      const body = JSON.stringify({ type: 'COMPLETE_TASK' });
      const started = await line.send('POST', '/api/v1/actions', token, body);
      const { actionId, actionToken } = JSON.parse(started.body) as Record<string, string>;
      const path = `/api/v1/actions/${actionId ?? ''}/complete`;
      const { status } = await line.send('POST', path, token, JSON.stringify({ actionToken }));
      if (status === 200) made += 1;
      else faults.push(`a completion was answered ${status}`);
      await delay(Math.max(0, begun + (n * 1000) / CHANGES_PER_SECOND - performance.now()));
    }
  };
  const running = run().catch((error: unknown) => faults.push(String(error)));
  return {
    faults,
    get made() {
      return made;
    },
    async stop() {
      over = true;
      await running;
      await line.close();
    },
  };
}

function report(options: Options, watched: readonly Watched[]): Report {
  const row = (name: string, of: (one: Watched) => number): string[] => [
    name,
    ...watched.map((one) => figure(of(one))),
  ];
  return {
    name: 'fanout',
    command: `npm run bench -- fanout --seconds ${options.seconds}`,
    tables: [
      {
        title: `One realtime process, a board that changes ${CHANGES_PER_SECOND} times a second, ${options.seconds} s`,
        columns: ['clients', ...watched.map(({ clients }) => figure(clients))],
        rows: [
          row('commit to receipt, p50 ms', ({ lateness }) => lateness.p50),
          row('commit to receipt, p99 ms', ({ lateness }) => lateness.p99),
          row('most ms', ({ lateness }) => lateness.max),
          row('changes a second', ({ changesPerSecond }) => changesPerSecond),
          row('frames a second to each client', ({ framesPerSecond }) => framesPerSecond),
          row('RSS before the clients, MB', ({ rssBeforeMb }) => rssBeforeMb),
          row('RSS with the clients, quiet, MB', ({ rssMb }) => rssMb),
          row('RSS after the measurement, MB', ({ rssAfterMb }) => rssAfterMb),
          row('KB a client', ({ rssMb, rssBeforeMb, clients }) => ((rssMb - rssBeforeMb) * 1024) / clients),
          row('event-loop delay p99, ms', ({ loopMs }) => loopMs),
          row('CPU, share of a core', ({ cpuShare }) => cpuShare),
          row('connects (handshake, sign-in, join) a second', ({ connectsPerSecond }) => connectsPerSecond),
        ],
      },
    ],
    notes: [
      'Every client is signed in and a user of its own. Commit: the time in the completion’s transaction.',
      'The generators run on the same cores, and take as much CPU as the server; so do API, worker and stores.',
    ],
    data: watched,
    faults: watched.flatMap(({ faults }) => faults),
  };
}
