import { statfsSync } from 'node:fs';
import { cpus, loadavg, tmpdir, totalmem } from 'node:os';
import pg from 'pg';
import { Redis } from 'ioredis';

/** Where a benchmark ran: without this its figures mean nothing. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly disk: string;
  readonly node: string;
  readonly date: string;
  /** runnable processes in the last minute, before the benchmark began */
  readonly loadBefore: number;
}

const tmpfs = 0x01021994;

export function describeMachine(): Machine {
  const [first] = cpus();
  return {
    cpu: first?.model ?? 'unknown',
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    disk: statfsSync(tmpdir()).type === tmpfs ? 'memory (not durable!)' : 'disk',
    node: process.version,
    date: new Date().toISOString().slice(0, 16).replace('T', ' '),
    loadBefore: Number((loadavg()[0] ?? 0).toFixed(2)),
  };
}

/** What the stores are set to, asked of the stores themselves. */
export async function describeStores(databaseUrl: string, redisUrl: string): Promise<Record<string, string>> {
  const client = new pg.Client({ connectionString: databaseUrl });
  const redis = new Redis(redisUrl);
  await client.connect();
  try {
    const settings: Record<string, string> = {};
    for (const name of [
      'server_version',
      'synchronous_commit',
      'fsync',
      'shared_buffers',
      'full_page_writes',
    ]) {
      const { rows } = await client.query<{ value: string }>('select current_setting($1) as value', [name]);
      settings[`Postgres ${name}`] = rows[0]?.value ?? '?';
    }
    settings['Redis version'] = /redis_version:(\S+)/.exec(await redis.info('server'))?.[1] ?? '?';
    for (const name of ['appendonly', 'appendfsync', 'auto-aof-rewrite-min-size']) {
      const [, value] = (await redis.config('GET', name)) as string[];
      settings[`Redis ${name}`] = value ?? '?';
    }
    return settings;
  } finally {
    await client.end();
    redis.disconnect();
  }
}
