import { MemoryWatch } from './measure/memory.ts';
import type { Options } from './options.ts';
import { findDisagreements } from './proof.ts';
import type { Report } from './report.ts';
import { errorsOf, warmUp, withLaurel, withPlayers, type Measured, type PlayPlan } from './session.ts';

/** How much of the capacity is asked for. */
const SHARE = 0.8;
/** A machine that is shared is not always as fast: what it can do for long is the least of several runs. */
const CAPACITY_RUNS = 6;
/** Enough for every play to find one. */
const CONNECTIONS = 2000;
const SMOKE_CONNECTIONS = 200;
const WATCH_MS = 5000;
const SMOKE_WATCH_MS = 200;

/** Most of the capacity, for long: nothing may fail, and nothing may grow that is not meant to. */
export async function endurance(options: Options, plan: PlayPlan = {}): Promise<Report> {
  const smoke = options.size === 'smoke';
  const system = { fromSources: plan.fromSources === true };
  return withPlayers(options, plan, (stores, players) =>
    withLaurel({ options, stores, players, plan: system }, async ({ subject, session }) => {
      await session.play({ seconds: warmUp(options) });
      const capacities: Measured[] = [];
      while (capacities.length < CAPACITY_RUNS)
        capacities.push(await session.play({ seconds: options.seconds }));
      const capacity = capacities.reduce((least, one) => (one.perSecond < least.perSecond ? one : least));
      const memory = new MemoryWatch(() => subject.usage(), smoke ? SMOKE_WATCH_MS : WATCH_MS);
      const measured = await session.play({
        seconds: options.enduranceSeconds,
        rate: SHARE * capacity.perSecond,
        inFlight: smoke ? SMOKE_CONNECTIONS : CONNECTIONS,
      });
      memory.stop();
      const faults = [
        ...capacities.flatMap((one) => errorsOf('at capacity', one)),
        ...errorsOf('for long', measured),
        ...(await findDisagreements(stores, session.acknowledged, session.told)),
      ];
      const errors = Object.values(measured.errors).reduce((total, times) => total + times, 0);
      return {
        name: 'endurance',
        command: `npm run bench -- endurance --seconds ${options.seconds} --endurance-seconds ${options.enduranceSeconds} --in-flight ${options.inFlight}`,
        tables: [
          {
            title: `${100 * SHARE} % of the capacity for ${options.enduranceSeconds} s, one API and one worker process`,
            columns: [
              '',
              'completions/s',
              'start p99 ms',
              'complete p50 ms',
              'p99 ms',
              'p99.9 ms',
              '202',
              'errors',
            ],
            rows: [
              [
                `capacity, ${options.inFlight} in flight, the least of ${CAPACITY_RUNS} x ${options.seconds} s`,
                capacity.perSecond,
                capacity.start.p99,
                capacity.complete.p50,
                capacity.complete.p99,
                capacity.complete.p999,
                capacity.queued,
                Object.values(capacity.errors).reduce((total, times) => total + times, 0),
              ],
              [
                `${100 * SHARE} % of it`,
                measured.perSecond,
                measured.start.p99,
                measured.complete.p50,
                measured.complete.p99,
                measured.complete.p999,
                measured.queued,
                errors,
              ],
            ],
          },
          {
            title: 'Memory meanwhile, MB; growth by least squares',
            columns: ['', 'at the start', 'at the end', 'most', 'MB a minute', 'in the second half'],
            rows: memory.names.map((name) => [
              name,
              memory.first(name),
              memory.last(name),
              memory.most(name),
              memory.growth(name),
              memory.growth(name, 0.5),
            ]),
          },
        ],
        notes: [
          'Redis keeps what each completion was answered with for 15 minutes, for replays, and Postgres fills its buffers: both grow with what was played, up to that.',
          'Afterwards: acknowledged = ledger = scores = Redis.',
        ],
        data: { capacities, measured, memory },
        faults,
      };
    }),
  );
}
