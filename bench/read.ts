import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startBaseline } from './baseline/baseline.ts';
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

/** GET of the top 10 from one API process, and from the baseline. */
export async function read(options: Options): Promise<Report> {
  const stores = await startStores();
  try {
    await seedUsers(stores.databaseUrl, BOARD_USERS);
    await seedScores(stores.databaseUrl, 'global', 'all', BOARD_USERS);
    const laurel: Read[] = [];
    const baseline: Read[] = [];
    const profiles = options.profile ? await mkdtemp(join(tmpdir(), 'laurel-bench-profiles-')) : undefined;
    for (let i = 0; i < options.repeat; i += 1) {
      const system = await startSystem(stores, { api: 1, workers: 1, profiles });
      try {
        await settleStores(stores);
        for (const server of system.api) laurel.push(await measure(server, options.seconds));
      } finally {
        await system.stop();
      }
      const players = await createPlayers(stores.databaseUrl, 100);
      const server = await startBaseline(stores, players, players.length);
      try {
        baseline.push(await measure(server, options.seconds));
      } finally {
        await server.stop();
      }
    }
    const costs = profiles === undefined ? [] : summarizeProfiles(profiles);
    if (profiles !== undefined) await rm(profiles, { recursive: true, force: true });
    return report(options, laurel, baseline, costs);
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

function report(
  options: Options,
  laurel: readonly Read[],
  baseline: readonly Read[],
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
  const ratio = span(laurel.map(({ perSecond }, i) => perSecond / (baseline[i]?.perSecond ?? NaN)));
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
          ['Laurel / baseline', ratio, '', '', '', '', '', ''],
        ],
      },
      ...costs,
    ],
    notes: ['autocannon measures latencies in whole milliseconds.'],
    data: { laurel, baseline },
    faults: [...laurel, ...baseline].flatMap(({ errors }) => (errors > 0 ? [`${errors} reads failed`] : [])),
  };
}
