import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startBare, startBaseline } from './baseline/baseline.ts';
import { readRepeatedly, type Reads } from './generators/reads.ts';
import { usageOf } from './measure/processes.ts';
import { summarizeProfiles } from './measure/profile.ts';
import type { Options } from './options.ts';
import { createPlayers } from './players.ts';
import { span, type Report, type Table } from './report.ts';
import { seedScores, seedUsers } from './seed.ts';
import { settleStores, startStores } from './stores.ts';
import { startSystem, type ServerProcess } from './system.ts';

const CONNECTIONS = 64;
const PATH = '/api/v1/leaderboards/global?limit=10';
const BOARD_USERS = 10_000;

interface Read extends Reads {
  /** of the server, milliseconds a request */
  readonly serverCpuMs: number;
  readonly rssMb: number;
}

/** GET of the top 10 from one API process, from the baseline, and the same answer from node's own server alone. */
export async function read(options: Options): Promise<Report> {
  const stores = await startStores();
  try {
    await seedUsers(stores.databaseUrl, BOARD_USERS);
    await seedScores(stores.databaseUrl, 'global', 'all', BOARD_USERS);
    const laurel: Read[] = [];
    const baseline: Read[] = [];
    const bare: Read[] = [];
    const profiles = options.profile ? await mkdtemp(join(tmpdir(), 'laurel-bench-profiles-')) : undefined;
    for (let i = 0; i < options.repeat; i += 1) {
      const system = await startSystem(stores, { api: 1, workers: 1, profiles });
      try {
        await settleStores(stores);
        const [server] = system.api;
        if (!server) throw new Error('no API process was started');
        laurel.push(await measure(server, options.seconds));
        bare.push(await measureAlone(await startBare(server.url + PATH), options.seconds));
      } finally {
        await system.stop();
      }
      const players = await createPlayers(stores.databaseUrl, 100);
      const server = await startBaseline(stores, players, { boards: 'one', scores: players.length });
      baseline.push(await measureAlone(server, options.seconds));
    }
    const costs = profiles === undefined ? [] : summarizeProfiles(profiles);
    if (profiles !== undefined) await rm(profiles, { recursive: true, force: true });
    return report(options, { laurel, baseline, bare }, costs);
  } finally {
    await stores.stop();
  }
}

async function measure(server: ServerProcess, seconds: number): Promise<Read> {
  await readRepeatedly(server.url + PATH, CONNECTIONS, Math.max(1, Math.ceil(seconds / 6)));
  const before = usageOf(server.pid);
  const reads = await readRepeatedly(server.url + PATH, CONNECTIONS, seconds);
  const after = usageOf(server.pid);
  return {
    ...reads,
    serverCpuMs: (after.cpuMs - before.cpuMs) / (reads.perSecond * seconds),
    rssMb: after.rssMb,
  };
}

/** Measures a server, and stops it. */
async function measureAlone(server: ServerProcess, seconds: number): Promise<Read> {
  try {
    return await measure(server, seconds);
  } finally {
    await server.stop();
  }
}

function report(
  options: Options,
  { laurel, baseline, bare }: Readonly<Record<'laurel' | 'baseline' | 'bare', readonly Read[]>>,
  costs: readonly Table[],
): Report {
  const row = (name: string, reads: readonly Read[]): string[] => [
    name,
    span(reads.map(({ perSecond }) => perSecond)),
    span(reads.map(({ p50 }) => p50)),
    span(reads.map(({ p99 }) => p99)),
    span(reads.map(({ serverCpuMs }) => serverCpuMs * 1000)),
    span(reads.map(({ generatorCpuMs }) => generatorCpuMs * 1000)),
    span(reads.map(({ rssMb }) => rssMb)),
    span(reads.map(({ errors }) => errors)),
  ];
  const ratioTo = (others: readonly Read[]): string =>
    span(laurel.map(({ perSecond }, i) => perSecond / (others[i]?.perSecond ?? NaN)));
  return {
    name: 'read',
    command: `npm run bench -- read --seconds ${options.seconds}`,
    tables: [
      {
        title: `GET top 10, one API process, ${CONNECTIONS} connections, ${options.seconds} s, least – most of ${options.repeat}`,
        columns: [
          '',
          'requests/s',
          'p50 ms',
          'p99 ms',
          'server CPU µs',
          'generator CPU µs',
          'RSS MB',
          'errors',
        ],
        rows: [
          row('Laurel', laurel),
          row('baseline', baseline),
          row('node:http alone', bare),
          ['Laurel / baseline', ratioTo(baseline), '', '', '', '', '', ''],
          ['Laurel / node:http alone', ratioTo(bare), '', '', '', '', '', ''],
        ],
      },
      ...costs,
    ],
    notes: [
      'autocannon measures latencies in whole milliseconds.',
      'node:http alone: a server without a framework that sends the same headers and body, whatever it is asked.',
    ],
    data: { laurel, baseline, bare },
    faults: [...laurel, ...baseline, ...bare].flatMap(({ errors }) =>
      errors > 0 ? [`${errors} reads failed`] : [],
    ),
  };
}
