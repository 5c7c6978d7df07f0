import { readFile } from 'node:fs/promises';
import type { BareAnswer } from './bare.ts';
import type { BenchPlayer } from '../players.ts';
import { withDatabase, withRedis, type BenchStores } from '../stores.ts';
import { environmentOf, nodeFlagsOf, startServer, type ServerProcess } from '../system.ts';

export interface BaselinePlan {
  /** on how many boards a completion counts: one, or as many as Laurel's */
  readonly boards: 'one' | 'eight';
  /** how many processes serve it, behind one port */
  readonly processes: number;
  /** how many of the players stand on the global board at the start */
  readonly scores?: number;
}

/** Starts the hand-written scoreboard on the same stores, for the same players. */
export async function startBaseline(
  stores: BenchStores,
  players: readonly BenchPlayer[],
  { boards, processes, scores = 0 }: BaselinePlan,
): Promise<ServerProcess> {
  const schema = await readFile(new URL('schema.sql', import.meta.url), 'utf8');
  const userIds = players.map(({ userId }) => userId);
  await withDatabase(stores.databaseUrl, async (db) => {
    await db.raw(schema);
    await db.raw('insert into baseline.users (id, username) select id, id from unnest(?::text[]) as u(id)', [
      userIds,
    ]);
  });
  await withRedis(stores.redisUrl, async (redis) => {
    await redis.del(...(await redis.keys('baseline:*')), 'baseline:names');
    for (let i = 0; i < userIds.length; i += 1000)
      await redis.hset(
        'baseline:names',
        Object.fromEntries(userIds.slice(i, i + 1000).map((id) => [id, id])),
      );
    for (const [i, userId] of userIds.slice(0, scores).entries())
      await redis.zadd('baseline:board:global', i, userId);
  });
  return startServer(
    'baseline',
    [...nodeFlagsOf('api'), '--import', 'tsx', 'bench/baseline/server.ts'],
    'PORT',
    { ...environmentOf(stores), BASELINE_BOARDS: boards, BASELINE_PROCESSES: String(processes) },
  );
}

/** Starts a server that is node:http alone, and answers as the URL does now. */
export async function startBare(url: string): Promise<ServerProcess> {
  const response = await fetch(url);
  const answer: BareAnswer = {
    headers: [...response.headers].filter(([name]) => !['connection', 'keep-alive', 'date'].includes(name)),
    body: await response.text(),
  };
  return startServer('bare', [...nodeFlagsOf('api'), '--import', 'tsx', 'bench/baseline/bare.ts'], 'PORT', {
    ANSWER: JSON.stringify(answer),
  });
}

/** What of the acknowledged completions is not where it must be: nothing, if the baseline is right. */
export async function baselineFaults(
  stores: BenchStores,
  acknowledged: readonly string[],
): Promise<string[]> {
  const { ledger, acked, wrong } = await withDatabase(stores.databaseUrl, async (db) => {
    const { rows } = await db.raw<{ rows: { ledger: number; acked: number; wrong: number }[] }>(
      `select (select count(*)::int from baseline.ledger) as ledger,
         (select count(*)::int from baseline.ledger where action_id = any (:acknowledged::uuid[])) as acked,
         (select count(*)::int from (select board, user_id, sum(delta) as sum from baseline.ledger, unnest(boards) as board group by 1, 2) l
            full join baseline.scores s using (board, user_id) where l.sum is distinct from s.score) as wrong`,
      { acknowledged: [...acknowledged] },
    );
    return rows[0] ?? { ledger: 0, acked: 0, wrong: 0 };
  });
  const inPostgres = await withDatabase(stores.databaseUrl, async (db) => {
    const { rows } = await db.raw<{ rows: { board: string; sum: string }[] }>(
      'select board, sum(score) as sum from baseline.scores group by board',
    );
    return new Map(rows.map(({ board, sum }) => [board, Number(sum)]));
  });
  const differences = await withRedis(stores.redisUrl, async (redis) => {
    const found: string[] = [];
    for (const [board, sum] of inPostgres) {
      const held = await redis.zrange(`baseline:board:${board}`, '0', '-1', 'WITHSCORES');
      const inRedis = held.filter((_, i) => i % 2 === 1).reduce((total, score) => total + Number(score), 0);
      if (inRedis !== sum) found.push(`baseline: Redis holds ${inRedis} points on ${board}, Postgres ${sum}`);
    }
    return found;
  });
  return [
    ...(acked === acknowledged.length && ledger === acked
      ? []
      : [`baseline: ${acknowledged.length} acknowledged, ${acked} of them in its ledger of ${ledger}`]),
    ...(wrong === 0 ? [] : [`baseline: ${wrong} scores are not the sum of the ledger`]),
    ...differences,
  ];
}
