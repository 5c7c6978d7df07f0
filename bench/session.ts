import { forkChild, type Child } from './child.ts';
import { DONE, type PlayOrder, type PlayOutcome } from './generators/play-messages.ts';
import { summarize, type Latency } from './measure/latencies.ts';
import { usageOf, usageOfTree, type Usage } from './measure/processes.ts';
import { Scrape } from './measure/scrape.ts';
import type { Options } from './options.ts';
import { createPlayers, signIn, unseenPlayers, type BenchPlayer } from './players.ts';
import { prepare, settleStores, startStores, storesAt, type BenchStores } from './stores.ts';
import { startSystem, type ServerProcess, type System, type SystemPlan } from './system.ts';

/** What one measurement of plays found. */
export interface Measured {
  readonly perSecond: number;
  readonly start: Latency;
  readonly complete: Latency;
  readonly acknowledged: number;
  /** of those answered 200 */
  readonly points: number;
  readonly queued: number;
  /** answered 503 under overload */
  readonly shed: { readonly start: number; readonly complete: number };
  readonly errors: Readonly<Record<string, number>>;
  /** CPU milliseconds a completion, by process */
  readonly cpuMs: Readonly<Record<string, number>>;
  /** at the end, MB, by process */
  readonly rssMb: Readonly<Record<string, number>>;
  /** event-loop delay p99, ms, by tier */
  readonly loopMs: Readonly<Record<string, number>>;
  /** completions in one transaction, mean */
  readonly batch: number;
}

/** How a benchmark is run by a test. */
export interface PlayPlan {
  readonly fromSources?: boolean;
  /** stores that run already; else the benchmark starts its own */
  readonly urls?: { readonly databaseUrl: string; readonly redisUrl: string } | undefined;
}

const WARM_UP_SECONDS = 15;

export const warmUp = (options: Options): number => (options.size === 'smoke' ? 0.3 : WARM_UP_SECONDS);

/** Lends stores with players who have never played. */
export async function withPlayers<T>(
  options: Options,
  { urls }: PlayPlan,
  use: (stores: BenchStores, players: readonly BenchPlayer[]) => Promise<T>,
): Promise<T> {
  const stores = urls ? await storesAt(urls.databaseUrl, urls.redisUrl) : await startStores();
  try {
    if (urls) await prepare(stores.databaseUrl);
    const players = options.unseen
      ? unseenPlayers(options.players)
      : await createPlayers(stores.databaseUrl, options.players);
    return await use(stores, players);
  } finally {
    await stores.stop();
  }
}

/** Laurel, one process of each tier unless the plan says otherwise, and players who are signed in to it. */
export interface Playground {
  readonly system: System;
  readonly subject: Subject;
  readonly session: Session;
}

/** Lends Laurel on stores that are at rest. @param first the player who plays first, by number */
export async function withLaurel<T>(
  at: {
    readonly options: Options;
    readonly stores: BenchStores;
    readonly players: readonly BenchPlayer[];
    readonly plan: SystemPlan;
    readonly first?: number;
  },
  use: (playground: Playground) => Promise<T>,
): Promise<T> {
  const { options, stores, players, plan, first = 0 } = at;
  const system = await startSystem(stores, {
    api: 1,
    workers: 1,
    realtime: 1,
    ...plan,
    env: { ...plan.env, ...(options.unseen && { USER_PROVISIONING: 'auto' }) },
  });
  try {
    const subject = laurelProcesses(system, stores);
    const session = startSession(subject, players, options, first);
    try {
      await settleStores(stores);
      if (!options.unseen) await signIn(subject.url, players);
      return await use({ system, subject, session });
    } finally {
      await session.stop();
    }
  } finally {
    await system.stop();
  }
}

type Session = ReturnType<typeof startSession>;

/** The processes that serve plays, and where to ask them for their metrics. */
export interface Subject {
  readonly url: string;
  usage(): Record<string, Usage>;
  readonly scraped: Readonly<Record<string, readonly ServerProcess[]>>;
}

const sum = (usages: readonly Usage[]): Usage => ({
  cpuMs: usages.reduce((total, { cpuMs }) => total + cpuMs, 0),
  rssMb: usages.reduce((total, { rssMb }) => total + rssMb, 0),
});

export const storesUsage = ({ pids }: BenchStores): Record<string, Usage> => ({
  Postgres: usageOfTree(pids.postgres),
  Redis: usageOf(pids.redis),
});

const laurelProcesses = ({ api, workers, realtime }: System, stores: BenchStores): Subject => ({
  url: api[0]?.url ?? '',
  usage: () => ({
    API: sum(api.map(({ pid }) => usageOf(pid))),
    workers: sum(workers.map(({ pid }) => usageOf(pid))),
    realtime: sum(realtime.map(({ pid }) => usageOf(pid))),
    ...storesUsage(stores),
  }),
  scraped: { API: api, workers, realtime },
});

/** Plays against one subject from a generator of its own. */
export function startSession(
  subject: Subject,
  players: readonly BenchPlayer[],
  options: Options,
  first: number,
) {
  const generator: Child = forkChild(new URL('generators/play.ts', import.meta.url));
  generator.send({ url: subject.url, players });
  const acknowledged: string[] = [];
  let next = first;
  let points = 0;
  let queued = 0;
  const usage = (): Record<string, Usage> => ({ ...subject.usage(), generator: usageOf(generator.pid) });
  return {
    acknowledged,
    get next() {
      return next;
    },
    /** what all the 200s said that they were worth, and how many answers said only that it will count */
    get told() {
      return { points, queued };
    },
    async play(plan: Omit<PlayOrder, 'first' | 'inFlight'> & { inFlight?: number }): Promise<Measured> {
      const scrapesBefore = await scrape(subject);
      const before = usage();
      const order: PlayOrder = { inFlight: options.inFlight, ...plan, first: next };
      generator.send(order);
      while ((await generator.receive<unknown>()) !== DONE);
      const after = usage();
      const scrapesAfter = await scrape(subject);
      const outcome = await generator.receive<PlayOutcome>();
      next = outcome.next;
      points += outcome.points;
      queued += outcome.queued;
      for (const id of outcome.acknowledged) acknowledged.push(id);
      const count = outcome.acknowledged.length;
      const names = Object.keys(after);
      return {
        perSecond: (count / outcome.tookMs) * 1000,
        start: summarize(outcome.startMs),
        complete: summarize(outcome.completeMs),
        acknowledged: count,
        points: outcome.points,
        queued: outcome.queued,
        shed: outcome.shed,
        errors: outcome.errors,
        cpuMs: Object.fromEntries(
          names.map((name) => [name, ((after[name]?.cpuMs ?? 0) - (before[name]?.cpuMs ?? 0)) / count]),
        ),
        rssMb: Object.fromEntries(names.map((name) => [name, after[name]?.rssMb ?? 0])),
        loopMs: Object.fromEntries(
          Object.entries(scrapesAfter).map(([tier, list]) => [
            tier,
            Math.max(...list.map(({ loopDelayP99Ms }) => loopDelayP99Ms)),
          ]),
        ),
        batch: meanBatch(scrapesBefore['workers'] ?? [], scrapesAfter['workers'] ?? []),
      };
    },
    stop: () => generator.stop(),
  };
}

async function scrape(subject: Subject): Promise<Record<string, Scrape[]>> {
  const tiers = Object.entries(subject.scraped);
  const scrapes = await Promise.all(
    tiers.map(
      async ([tier, servers]) => [tier, await Promise.all(servers.map(({ url }) => Scrape.of(url)))] as const,
    ),
  );
  return Object.fromEntries(scrapes);
}

function meanBatch(before: readonly Scrape[], after: readonly Scrape[]): number {
  const means = after.flatMap((scrape, i) => {
    const earlier = before[i];
    return earlier ? [scrape.meanSince(earlier, 'laurel_completion_batch_size')] : [];
  });
  const busy = means.filter((mean) => mean > 0);
  return busy.length === 0 ? 0 : busy.reduce((total, mean) => total + mean, 0) / busy.length;
}

export const errorsOf = (who: string, { errors }: Measured): string[] =>
  Object.entries(errors).map(([error, times]) => `${who}: ${times} x ${error}`);
