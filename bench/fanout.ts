import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CHANGES_PER_SECOND, gatherAudience, type Audience, type Heard } from './audience.ts';
import { usageOf } from './measure/processes.ts';
import { summarizeProfiles } from './measure/profile.ts';
import { Scrape } from './measure/scrape.ts';
import type { Options } from './options.ts';
import { figure, type Report, type Table } from './report.ts';
import { startStores } from './stores.ts';

interface Watched extends Heard {
  readonly clients: number;
  readonly connectsPerSecond: number;
  readonly rssBeforeMb: number;
  readonly rssMb: number;
  readonly rssAfterMb: number;
  readonly loopMs: number;
  readonly faults: readonly string[];
}

/** Thousands of clients watch one board through one realtime process, while its top 10 changes five times a second. */
export async function fanout(options: Options): Promise<Report> {
  const profiles = options.profile ? await mkdtemp(join(tmpdir(), 'laurel-bench-profiles-')) : undefined;
  try {
    const watched: Watched[] = [];
    for (const clients of options.clients)
      watched.push(await measureFanout(clients, options.seconds, profiles));
    const costs = profiles === undefined ? [] : summarizeProfiles(profiles);
    return report(options, watched, costs);
  } finally {
    if (profiles !== undefined) await rm(profiles, { recursive: true, force: true });
  }
}

async function measureFanout(
  clients: number,
  seconds: number,
  profiles: string | undefined,
): Promise<Watched> {
  // New ones each time: players of before would fill the top 10, and the board would not change.
  const stores = await startStores();
  let audience: Audience | undefined;
  try {
    audience = await gatherAudience(stores, { clients, profiles });
    const { server, rssBeforeMb, connectsPerSecond } = audience;
    const rssMb = usageOf(server.pid).rssMb;
    await Scrape.of(server.url); // begins the event loop's figures anew
    const heard = await audience.listen(seconds);
    const { loopDelayP99Ms } = await Scrape.of(server.url);
    const rssAfterMb = usageOf(server.pid).rssMb;
    const { faults } = audience;
    return {
      ...heard,
      clients,
      connectsPerSecond,
      rssBeforeMb,
      rssMb,
      rssAfterMb,
      loopMs: loopDelayP99Ms,
      faults,
    };
  } finally {
    await audience?.stop();
    await stores.stop();
  }
}

function report(options: Options, watched: readonly Watched[], costs: readonly Table[]): Report {
  const row = (name: string, of: (one: Watched) => number): string[] => [
    name,
    ...watched.map((one) => figure(of(one))),
  ];
  return {
    name: 'fanout',
    command: `npm run bench -- fanout --clients ${options.clients.join(',')} --seconds ${options.seconds}`,
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
          row('RSS with the clients, MB', ({ rssMb }) => rssMb),
          row('RSS after the measurement, MB', ({ rssAfterMb }) => rssAfterMb),
          row('KB a client', ({ rssMb, rssBeforeMb, clients }) => ((rssMb - rssBeforeMb) * 1024) / clients),
          row('event-loop delay p99, ms', ({ loopMs }) => loopMs),
          row('CPU, cores: realtime', ({ cpu }) => cpu.realtime),
          row('CPU, cores: the clients', ({ cpu }) => cpu.clients),
          row('CPU, cores: API, worker, stores, bench', ({ cpu }) => cpu.others),
          row('connects (handshake, sign-in, join) a second', ({ connectsPerSecond }) => connectsPerSecond),
        ],
      },
      ...costs,
    ],
    notes: [
      'Every client is signed in and a user of its own. Commit: the time in the completion’s transaction.',
      'Every client’s frames follow on each other and on its snapshot, or the run does not count.',
      'The clients run on the same cores; the board changes while they connect, too.',
    ],
    data: watched,
    faults: watched.flatMap(({ faults }) => faults),
  };
}
