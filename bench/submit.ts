import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { baselineFaults, startBaseline, type BaselinePlan } from './baseline/baseline.ts';
import { usageOfTree } from './measure/processes.ts';
import { resetStoreStatistics, storeStatistics, summarizeProfiles } from './measure/profile.ts';
import type { Options } from './options.ts';
import type { BenchPlayer } from './players.ts';
import { findDisagreements } from './proof.ts';
import { figure, span, type Report, type Table } from './report.ts';
import {
  errorsOf,
  startSession,
  storesUsage,
  warmUp,
  withLaurel,
  withPlayers,
  type Measured,
  type PlayPlan,
  type Subject,
} from './session.ts';
import { settleStores, type BenchStores } from './stores.ts';
import type { ServerProcess } from './system.ts';

/** The hand-written scoreboard, as it is run: by one process or by two, with one board or with as many as Laurel has. */
const variants = {
  one: { boards: 'one', processes: 1 },
  two: { boards: 'one', processes: 2 },
  eight: { boards: 'eight', processes: 2 },
} as const satisfies Record<string, BaselinePlan>;
type Variant = keyof typeof variants;
const variantNames = Object.keys(variants) as Variant[];

interface Round {
  readonly laurel: Measured;
  readonly quarter: Measured;
  readonly baselines: Readonly<Record<Variant, Measured>> | undefined;
}

interface Combination {
  readonly partitions: number;
  readonly workers: number;
  readonly rounds: readonly Round[];
  readonly faults: readonly string[];
  /** where the last round spent its time, when that was asked for */
  readonly costs: readonly Table[];
}

/** Start and complete over HTTP, in closed loop, against Laurel and against the baseline. */
export async function submit(options: Options, plan: PlayPlan = {}): Promise<Report> {
  const combinations: Combination[] = [];
  for (const partitions of options.partitions) {
    for (const workers of options.workers) {
      const isFirst = combinations.length === 0;
      combinations.push(await measureCombination(options, plan, partitions, workers, isFirst));
    }
  }
  return report(options, combinations);
}

async function measureCombination(
  options: Options,
  plan: PlayPlan,
  partitions: number,
  workers: number,
  withBaseline: boolean,
): Promise<Combination> {
  return withPlayers(options, plan, async (stores, players) => {
    const acknowledged: string[] = [];
    const told = { points: 0, queued: 0 };
    const faults: string[] = [];
    const rounds: Round[] = [];
    const profiles = options.profile ? await mkdtemp(join(tmpdir(), 'laurel-bench-profiles-')) : undefined;
    let costs: Table[] = [];
    let first = 0;
    const measureBaselines = async (): Promise<Record<Variant, Measured>> => {
      const measured: Partial<Record<Variant, Measured>> = {};
      for (const name of variantNames) {
        const one = await measureBaseline(options, stores, players, variants[name]);
        faults.push(...one.faults);
        measured[name] = one.measured;
      }
      return measured as Record<Variant, Measured>;
    };
    for (let i = 0; i < options.repeat; i += 1) {
      // A machine that slows down, or speeds up, favours neither: the first of one round is the second of the next.
      const isBaselineFirst = withBaseline && i % 2 === 1;
      const earlier = isBaselineFirst ? await measureBaselines() : undefined;
      const env = { QUEUE_PARTITIONS: String(partitions) };
      const system = { workers, env, fromSources: plan.fromSources === true, profiles };
      const measured = await withLaurel(
        { options, stores, players, plan: system, first },
        async ({ session }) => {
          await session.play({ seconds: warmUp(options) });
          if (options.profile) await resetStoreStatistics(stores);
          const laurel = await session.play({ seconds: options.seconds });
          if (options.profile) costs = await storeStatistics(stores);
          const quarter = await session.play({
            seconds: Math.ceil(options.seconds / 2),
            rate: laurel.perSecond / 4,
          });
          acknowledged.push(...session.acknowledged);
          told.points += session.told.points;
          told.queued += session.told.queued;
          first = session.next;
          faults.push(...errorsOf('Laurel', laurel), ...errorsOf('Laurel at a quarter', quarter));
          faults.push(...(await findDisagreements(stores, acknowledged, told)));
          return { laurel, quarter };
        },
      );
      if (profiles !== undefined) costs = [...summarizeProfiles(profiles), ...costs];
      const baselines = earlier ?? (withBaseline ? await measureBaselines() : undefined);
      rounds.push({ ...measured, baselines });
    }
    if (profiles !== undefined) await rm(profiles, { recursive: true, force: true });
    return { partitions, workers, rounds, faults, costs };
  });
}

async function measureBaseline(
  options: Options,
  stores: BenchStores,
  players: readonly BenchPlayer[],
  plan: BaselinePlan,
): Promise<{ measured: Measured; faults: string[] }> {
  const server = await startBaseline(stores, players, plan);
  const session = startSession(baselineProcesses(server, stores), players, options, 0);
  try {
    await settleStores(stores);
    await session.play({ seconds: warmUp(options) });
    const measured = await session.play({ seconds: options.seconds });
    const faults = await baselineFaults(stores, session.acknowledged);
    return { measured, faults: [...errorsOf('baseline', measured), ...faults] };
  } finally {
    await session.stop();
    await server.stop();
  }
}

const baselineProcesses = (server: ServerProcess, stores: BenchStores): Subject => ({
  url: server.url,
  usage: () => ({ API: usageOfTree(server.pid), ...storesUsage(stores) }),
  scraped: {},
});

function report(options: Options, combinations: readonly Combination[]): Report {
  const tables: Table[] = [];
  const [main] = combinations;
  const rounds = main?.rounds ?? [];
  const all = rounds.flatMap(({ baselines }) => (baselines ? [baselines] : []));
  const [ones, twos, eights] = variantNames.map((name) => all.map((baselines) => baselines[name])) as [
    Measured[],
    Measured[],
    Measured[],
  ];
  const best = all.map(({ one, two }) => (one.perSecond > two.perSecond ? one : two));
  const laurels = rounds.map(({ laurel }) => laurel);
  if (main) {
    tables.push({
      title: `Completions (start + complete), ${options.inFlight} in flight, ${options.seconds} s, ${main.partitions} partitions, ${main.workers} worker process${main.workers > 1 ? 'es' : ''}, least – most of ${options.repeat}`,
      columns: ['', 'completions/s', 'complete p50 ms', 'p95', 'p99', 'p99.9', 'start p99', '202', 'errors'],
      rows: [
        measuredRow('Laurel', laurels),
        measuredRow(
          'Laurel at a quarter of that',
          rounds.map(({ quarter }) => quarter),
        ),
        measuredRow('baseline, one process', ones),
        measuredRow('baseline, two processes', twos),
        measuredRow('baseline, two processes, 8 boards', eights),
        ratioRow('Laurel / the better baseline', laurels, best),
        ratioRow('Laurel / baseline with 8 boards', laurels, eights),
      ],
    });
    const each = (of: (one: Measured) => number | undefined, measured: readonly Measured[]): string =>
      span(measured.map((one) => of(one) ?? NaN));
    tables.push({
      title: 'Where it goes: CPU milliseconds a completion, memory at the end, event-loop delay',
      columns: [
        '',
        'Laurel CPU ms',
        'baseline CPU ms',
        'with 8 boards',
        'Laurel RSS MB',
        'baseline RSS MB',
        'with 8 boards',
        'Laurel loop p99 ms',
      ],
      rows: ['API', 'workers', 'realtime', 'Postgres', 'Redis', 'generator'].map((name) => [
        name,
        ...[laurels, best, eights].map((measured) => each(({ cpuMs }) => cpuMs[name], measured)),
        ...[laurels, best, eights].map((measured) => each(({ rssMb }) => rssMb[name], measured)),
        each(({ loopMs }) => loopMs[name], laurels),
      ]),
    });
  }
  if (combinations.length > 1) {
    tables.push({
      title: 'By partitions and worker processes: CPU milliseconds a completion',
      columns: ['', 'completions/s', 'p99 ms', 'batch', 'API', 'workers', 'Postgres', 'Redis'],
      rows: combinations.map(({ partitions, workers, rounds: own }) => [
        `${partitions} partitions, ${workers} worker${workers > 1 ? 's' : ''}`,
        span(own.map(({ laurel }) => laurel.perSecond)),
        span(own.map(({ laurel }) => laurel.complete.p99)),
        span(own.map(({ laurel }) => laurel.batch)),
        ...['API', 'workers', 'Postgres', 'Redis'].map((name) =>
          span(own.map(({ laurel }) => laurel.cpuMs[name] ?? NaN)),
        ),
      ]),
    });
  }
  tables.push(...combinations.flatMap(({ costs }) => costs));
  return {
    name: 'submit',
    command: `npm run bench -- submit --seconds ${options.seconds} --repeat ${options.repeat} --in-flight ${options.inFlight} --players ${options.players}${options.unseen ? ' --unseen' : ''} --partitions ${options.partitions.join(',')} --workers ${options.workers.join(',')}`,
    tables,
    notes: [
      `Completions in one transaction, mean: ${span(laurels.map(({ batch }) => batch))}.`,
      'Each of Laurel’s completions counts on two leaderboards in four periods each: 8 boards. The baseline’s counts on one, or on as many.',
      `After each round: acknowledged = ledger = scores = Redis, for Laurel (${figure(laurels.reduce((n, { acknowledged }) => n + acknowledged, 0))} completions measured) and for the baseline.`,
      'The baseline runs its whole transaction in one prepared statement. Rounds alternate in which of the two comes first.',
      `${figure(options.players)} players in turn${options.unseen ? ', whom the API had never seen before' : ''}; an API process remembers 20,000 verified tokens.`,
      'Memory of Postgres, and of the baseline’s processes, is its proportional share (PSS), shared buffers included.',
    ],
    data: combinations,
    faults: combinations.flatMap(({ faults }) => faults),
  };
}

function ratioRow(name: string, above: readonly Measured[], below: readonly Measured[]): string[] {
  const ratios = above.map(({ perSecond }, i) => perSecond / (below[i]?.perSecond ?? NaN));
  return [name, span(ratios), '', '', '', '', '', '', ''];
}

function measuredRow(name: string, measured: readonly Measured[]): string[] {
  const of = (value: (one: Measured) => number): string => span(measured.map(value));
  return [
    name,
    of(({ perSecond }) => perSecond),
    of(({ complete }) => complete.p50),
    of(({ complete }) => complete.p95),
    of(({ complete }) => complete.p99),
    of(({ complete }) => complete.p999),
    of(({ start }) => start.p99),
    of(({ queued }) => queued),
    of(({ errors }) => Object.values(errors).reduce((total, times) => total + times, 0)),
  ];
}
