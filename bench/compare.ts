import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './build.ts';
import { forkChild, type Child } from './child.ts';
import type { ContenderOrder } from './contender.ts';
import type { Options } from './options.ts';
import { figure, type Report } from './report.ts';
import { errorsOf, warmUp, type Measured } from './session.ts';

export interface ComparePlan {
  /** more of the sides' command line */
  readonly args?: readonly [before: readonly string[], now: readonly string[]];
}

/**
 * Another checkout and this one, in turns: both run, and each plays while the other rests. A machine's speed that changes from
 * minute to minute, as a shared one's does, changes both.
 */
export async function compare(options: Options, plan: ComparePlan = {}): Promise<Report> {
  const against = resolve(options.against ?? root);
  const contenders = [against, root].map((folder) => join(folder, 'bench/contender.ts'));
  if (!contenders.every((file) => existsSync(file)))
    throw new Error(`${against} is no checkout of Laurel that can be compared. Name one with --against.`);
  const args = ['--size', options.size, '--in-flight', String(options.inFlight)];
  const sides: Child[] = [];
  try {
    for (const [i, file] of contenders.entries())
      sides.push(forkChild(pathToFileURL(file), [...args, ...(plan.args?.[i] ?? [])]));
    await Promise.all(sides.map((side) => side.receive())); // they are ready
    for (const side of sides) await play(side, warmUp(options));
    const rounds: (readonly [before: Measured, now: Measured])[] = [];
    const [before, now] = sides as [Child, Child];
    for (let i = 0; i < options.repeat; i += 1) {
      // The side that is first in one round is second in the next.
      const isBeforeFirst = i % 2 === 0;
      const first = await play(isBeforeFirst ? before : now, options.seconds);
      const second = await play(isBeforeFirst ? now : before, options.seconds);
      rounds.push(isBeforeFirst ? [first, second] : [second, first]);
    }
    const faults = rounds.flatMap((round) => round.flatMap((one) => errorsOf('comparing', one)));
    for (const side of sides) {
      side.send('end' satisfies ContenderOrder);
      faults.push(...(await side.receive<string[]>()));
    }
    return report(options, rounds, faults);
  } finally {
    await Promise.all(sides.map((side) => side.leave()));
  }
}

async function play(side: Child, seconds: number): Promise<Measured> {
  side.send({ seconds } satisfies ContenderOrder);
  return side.receive<Measured>();
}

function report(
  options: Options,
  rounds: readonly (readonly [Measured, Measured])[],
  faults: readonly string[],
): Report {
  const row = (name: string, of: (one: Measured) => number): string[] => [
    name,
    figure(median(rounds.map(([before]) => of(before)))),
    figure(median(rounds.map(([, now]) => of(now)))),
    figure(median(rounds.map(([before, now]) => of(now) / of(before)))),
  ];
  const share = 100 * median(rounds.map(([before, now]) => now.perSecond / before.perSecond));
  const tooSlow =
    options.atLeast !== undefined && share < options.atLeast
      ? [
          `${figure(share)} % of the other's completions a second: at least ${options.atLeast} % were asked for`,
        ]
      : [];
  const processes = Object.keys(rounds[0]?.[0].cpuMs ?? {});
  return {
    name: 'compare',
    command: `npm run bench -- compare --against … --seconds ${options.seconds} --repeat ${options.repeat} --in-flight ${options.inFlight}`,
    tables: [
      {
        title: `Another checkout and this one in turns, ${options.repeat} x ${options.seconds} s each, ${options.inFlight} in flight: medians`,
        columns: ['', 'the other', 'this', 'this / the other, by round'],
        rows: [
          row('completions/s', ({ perSecond }) => perSecond),
          row('complete p50 ms', ({ complete }) => complete.p50),
          row('complete p99 ms', ({ complete }) => complete.p99),
          row('completions a transaction', ({ batch }) => batch),
          ...processes.map((name) => row(`CPU ms a completion: ${name}`, ({ cpuMs }) => cpuMs[name] ?? NaN)),
          row('CPU ms a completion: all', ({ cpuMs }) =>
            Object.values(cpuMs).reduce((total, ms) => total + ms, 0),
          ),
        ],
      },
    ],
    notes: ['Afterwards, on both sides: acknowledged = ledger = scores = Redis.'],
    data: rounds,
    faults: [...faults, ...tooSlow],
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(middle)] ?? NaN) + (sorted[Math.ceil(middle)] ?? NaN)) / 2;
}
