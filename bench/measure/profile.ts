import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import type { Table } from '../report.ts';
import { withRedis, type BenchStores } from '../stores.ts';

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const MOST = 25;

/** Where a module stands, short: a package's name, or a path below the project. */
function placeOf(url: string): string {
  if (url === '') return '(engine)';
  if (url.startsWith('node:')) return url;
  const inPackage = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url);
  return inPackage?.[1] ?? url.replace(/^.*\/dist\//, '').replace(/^file:\/\//, '');
}

/**
 * What the processes that `node --cpu-prof` wrote down spent their time on, by self time: a flame graph's widest edges,
 * as text.
 *
 * @returns by package or module, and by function, for each profile
 */
export function summarizeProfiles(folder: string): Table[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.cpuprofile'))
    .flatMap((name) => {
      const profile = JSON.parse(readFileSync(join(folder, name), 'utf8')) as CpuProfile;
      const nodes = new Map(profile.nodes.map((node) => [node.id, node.callFrame]));
      const byPlace = new Map<string, number>();
      const byFunction = new Map<string, number>();
      let busy = 0;
      profile.samples.forEach((id, i) => {
        const frame = nodes.get(id);
        const took = (profile.timeDeltas[i] ?? 0) / 1000;
        if (!frame || frame.functionName === '(idle)' || frame.functionName === '(program)') return;
        busy += took;
        const place =
          frame.functionName === '(garbage collector)' ? '(garbage collector)' : placeOf(frame.url);
        const name = `${frame.functionName || '(anonymous)'} ${place}:${frame.lineNumber + 1}`;
        byPlace.set(place, (byPlace.get(place) ?? 0) + took);
        byFunction.set(name, (byFunction.get(name) ?? 0) + took);
      });
      const top = (of: Map<string, number>): string[][] =>
        [...of]
          .sort(([, a], [, b]) => b - a)
          .slice(0, MOST)
          .map(([place, took]) => [place, took.toFixed(0), `${((100 * took) / busy).toFixed(1)} %`]);
      const columns = ['', 'self ms', 'share'];
      return [
        { title: `${name}: by package or module`, columns, rows: top(byPlace) },
        { title: `${name}: by function`, columns, rows: top(byFunction) },
      ];
    });
}

/** Forgets what the stores have counted so far. */
export async function resetStoreStatistics(stores: BenchStores): Promise<void> {
  await withRedis(stores.redisUrl, (redis) => redis.config('RESETSTAT'));
  await query(stores, 'create extension if not exists pg_stat_statements');
  await query(stores, 'select pg_stat_statements_reset()');
}

/** The costliest commands and statements since the reset. */
export async function storeStatistics(stores: BenchStores): Promise<Table[]> {
  const info = await withRedis(stores.redisUrl, (redis) => redis.info('commandstats'));
  const commands = [...info.matchAll(/cmdstat_(\S+):calls=(\d+),usec=(\d+),usec_per_call=([\d.]+)/g)]
    .map(([, name = '', calls = '', usec = '', each = '']) => ({
      name,
      calls,
      ms: Number(usec) / 1000,
      each,
    }))
    .sort((a, b) => b.ms - a.ms);
  const statements = await query<{ query: string; calls: string; ms: number; rows: string }>(
    stores,
    `select left(regexp_replace(query, '\\s+', ' ', 'g'), 110) as query, calls, total_exec_time as ms, rows
     from pg_stat_statements order by total_exec_time desc limit 15`,
  );
  return [
    {
      title: 'Redis commands (those inside scripts are counted again in theirs)',
      columns: ['', 'calls', 'ms', 'µs a call'],
      rows: commands.slice(0, MOST).map(({ name, calls, ms, each }) => [name, calls, ms, each]),
    },
    {
      title: 'Postgres statements',
      columns: ['', 'calls', 'ms', 'rows'],
      rows: statements.map(({ query: text, calls, ms, rows }) => [
        text.replaceAll('|', '¦'),
        calls,
        ms,
        rows,
      ]),
    },
  ];
}

async function query<T extends pg.QueryResultRow>(stores: BenchStores, text: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: stores.databaseUrl });
  await client.connect();
  try {
    return (await client.query<T>(text)).rows;
  } finally {
    await client.end();
  }
}
