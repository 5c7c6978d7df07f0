import { readRepeatedly } from './generators/reads.ts';
import { Scrape } from './measure/scrape.ts';
import { MemoryWatch } from './measure/memory.ts';
import type { Options } from './options.ts';
import { findDisagreements } from './proof.ts';
import { figure, type Report } from './report.ts';
import { errorsOf, warmUp, withLaurel, withPlayers, type Measured, type PlayPlan } from './session.ts';
import type { System } from './system.ts';

/** How much more is asked than can be done. */
const TIMES = 2;
/** Enough for every play to find one, however long the earlier ones take. */
const CONNECTIONS = 4000;
const SMOKE_CONNECTIONS = 500;
const READERS = { connections: 16, perSecond: 200, path: '/api/v1/leaderboards/global?limit=10' };
const WATCH_MS = 1000;

/** What waits for the workers, watched for as long as a measurement takes. */
interface Line {
  readonly jobs: number;
  readonly oldestSeconds: number;
}

/** What Laurel does when it is asked for twice of what it can do, and whether it can do as much afterwards as before. */
export async function overload(options: Options, plan: PlayPlan = {}): Promise<Report> {
  const smoke = options.size === 'smoke';
  const processes = { fromSources: plan.fromSources === true };
  return withPlayers(options, plan, (stores, players) =>
    withLaurel({ options, stores, players, plan: processes }, async ({ system, subject, session }) => {
      await session.play({ seconds: warmUp(options) });
      const capacity = await session.play({ seconds: options.seconds });

      const before = await Scrape.of(subject.url);
      const memory = new MemoryWatch(() => subject.usage(), WATCH_MS);
      const line = watchLine(system);
      const rate = TIMES * capacity.perSecond;
      const [measured, reads] = await Promise.all([
        session.play({
          seconds: options.seconds,
          rate,
          inFlight: smoke ? SMOKE_CONNECTIONS : CONNECTIONS,
          overload: true,
        }),
        readRepeatedly({
          url: subject.url + READERS.path,
          connections: READERS.connections,
          seconds: options.seconds,
          rate: READERS.perSecond,
        }),
      ]);
      memory.stop();
      const most = await line.stop();
      const after = await Scrape.of(subject.url);
      const [shedBefore, shedAfter] = [before, after].map((scrape) =>
        scrape.by('laurel_shed_requests_total', 'class'),
      );
      const shed = Object.entries(shedAfter ?? {}).map(
        ([name, count]) => [name, count - (shedBefore?.[name] ?? 0)] as const,
      );
      const recovered = await session.play({ seconds: options.seconds });
      const faults = [
        ...errorsOf('at capacity', capacity),
        ...errorsOf('under overload', measured),
        ...errorsOf('afterwards', recovered),
        ...(reads.errors > reads.shed ? [`${reads.errors - reads.shed} board reads failed`] : []),
        ...(await findDisagreements(stores, session.acknowledged, session.told)),
      ];
      return report({ options, capacity, measured, recovered, rate, reads, shed, memory, most, faults });
    }),
  );
}

/** Looks once a second at what waits. @returns the most that was seen */
function watchLine({ workers }: System) {
  let most: Line = { jobs: 0, oldestSeconds: 0 };
  let last: Line = most;
  const look = async (): Promise<void> => {
    const scrapes = await Promise.all(workers.map(({ url }) => Scrape.of(url)));
    const jobs = scrapes.map((scrape) => scrape.by('laurel_queue_jobs', 'state')['waiting'] ?? 0);
    const ages = scrapes.flatMap((scrape) =>
      Object.values(scrape.by('laurel_queue_oldest_seconds', 'queue')),
    );
    last = { jobs: Math.max(0, ...jobs), oldestSeconds: Math.max(0, ...ages) };
    most = {
      jobs: Math.max(most.jobs, last.jobs),
      oldestSeconds: Math.max(most.oldestSeconds, last.oldestSeconds),
    };
  };
  let looking = Promise.resolve();
  const timer = setInterval(() => (looking = looking.then(look)), WATCH_MS);
  return {
    async stop(): Promise<{ most: Line; last: Line }> {
      clearInterval(timer);
      await looking;
      await look();
      return { most, last };
    },
  };
}

function report(found: {
  options: Options;
  capacity: Measured;
  measured: Measured;
  recovered: Measured;
  rate: number;
  reads: Awaited<ReturnType<typeof readRepeatedly>>;
  shed: readonly (readonly [string, number])[];
  memory: MemoryWatch;
  most: { most: Line; last: Line };
  faults: readonly string[];
}): Report {
  const { options, capacity, measured, recovered, rate, reads, shed, memory, most, faults } = found;
  const mean = (capacity.perSecond + recovered.perSecond) / 2;
  const row = (title: string, of: (one: Measured) => number): (string | number)[] => [
    title,
    of(capacity),
    of(measured),
    of(recovered),
  ];
  return {
    name: 'overload',
    command: `npm run bench -- overload --seconds ${options.seconds} --in-flight ${options.inFlight}`,
    tables: [
      {
        title: `Plays (start + complete): ${options.inFlight} in flight, then ${TIMES} x that rate whatever becomes of them, ${options.seconds} s each, one API and one worker process`,
        columns: ['', 'capacity', `${TIMES} x capacity`, 'capacity afterwards'],
        rows: [
          ['plays begun a second', capacity.perSecond, rate, recovered.perSecond],
          row('completions acknowledged a second', ({ perSecond }) => perSecond),
          row('share of the capacity, mean of before and after', ({ perSecond }) => perSecond / mean),
          row('start, admitted: p50 ms', ({ start }) => start.p50),
          row('p99 ms', ({ start }) => start.p99),
          row('complete, acknowledged: p50 ms', ({ complete }) => complete.p50),
          row('p99 ms', ({ complete }) => complete.p99),
          row('answered 202', ({ queued }) => queued),
          row('errors', ({ errors }) => Object.values(errors).reduce((total, times) => total + times, 0)),
          row('event loop of the API: p99 ms', ({ loopMs }) => loopMs['API'] ?? NaN),
        ],
      },
      {
        title: 'Refused with 503 and Retry-After, in the order in which they are given up',
        columns: ['', 'refused', 'a second'],
        rows: shed.map(([name, count]) => [name, count, count / options.seconds]),
      },
      {
        title: 'Memory, MB',
        columns: ['', 'before', 'most', 'after'],
        rows: memory.names.map((name) => [name, memory.first(name), memory.most(name), memory.last(name)]),
      },
    ],
    notes: [
      `Beside the plays ${READERS.perSecond} board reads a second without a token, for which ${figure(reads.perSecond - reads.shed / options.seconds)} were answered a second (p99 of all answers: ${figure(reads.p99)} ms).`,
      `Waiting for a worker, at most: ${figure(most.most.jobs)} completions, the oldest for ${figure(most.most.oldestSeconds)} s; at the end ${figure(most.last.jobs)}.`,
      `The generator begins plays at the set rate over ${figure(CONNECTIONS)} connections that stand, as a proxy’s do, and tries nothing again. It shares the cores with the servers, so that twice the load also takes from what they can do.`,
      'Afterwards: acknowledged = ledger = scores = Redis.',
    ],
    data: { capacity, measured, recovered, rate, reads, shed, memory, most },
    faults,
  };
}
