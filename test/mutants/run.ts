/**
 * `npm run test:mutants`: plants one fault at a time in a copy of the project, and runs the tests that must notice it.
 *
 *   --sample N --seed S   only N of them, drawn by the seed     --only REGEXP   that “file: description” matches
 *   --jobs N              copies that work at the same time (2)  --least N     the share that must be noticed, per cent (95)
 *   --trust               the tests have just passed: they are not run without a fault    --verbose   what tests said
 */
import { parseArgs } from 'node:util';
import { sharePostgres, stopSharedPostgres } from '../support/postgres.ts';
import { removeRunFolder } from '../support/run-folder.ts';
import type { Mutant, Verdict } from './mutant.ts';
import { Field, type Tests } from './plant.ts';
import { mutants } from './table/index.ts';

interface Outcome {
  readonly mutant: Mutant;
  readonly verdict: Verdict;
  readonly why?: string;
}

const { values } = parseArgs({
  options: {
    sample: { type: 'string' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string' },
    jobs: { type: 'string', default: '2' },
    least: { type: 'string', default: '95' },
    trust: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
  },
});

/** The same for the same text: a number, a date, a commit. */
const numberOf = (seed: string): number =>
  [...seed].reduce((sum, letter) => Math.imul(sum, 31) + letter.charCodeAt(0), 7);

/** A drawing that the same seed repeats: mulberry32. */
function draw<T>(all: readonly T[], count: number, seed: number): T[] {
  let state = seed >>> 0;
  const random = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const left = [...all];
  return Array.from({ length: Math.min(count, left.length) }, () =>
    left.splice(Math.floor(random() * left.length), 1),
  ).flat();
}

const wanted = mutants.filter(
  ({ file, breaks }) => values.only === undefined || new RegExp(values.only).test(`${file}: ${breaks}`),
);
const chosen =
  values.sample === undefined ? wanted : draw(wanted, Number(values.sample), numberOf(values.seed));

/** Tests that fail by themselves would seem to notice everything. */
const sound = new Map<string, Promise<boolean>>();
const isSound = (field: Field, { tests, grep }: Tests): Promise<boolean> => {
  if (values.trust) return Promise.resolve(true);
  const key = JSON.stringify([tests, grep]);
  const known = sound.get(key);
  if (known) return known;
  const run = field.run({ tests, ...(grep !== undefined && { grep }) }).then(({ passed, output }) => {
    if (!passed) console.error(`${tests.join(', ')} fails without any fault:\n${output}`);
    return passed;
  });
  sound.set(key, run);
  return run;
};

async function judge(field: Field, mutant: Mutant): Promise<Outcome> {
  if (mutant.unnoticeable !== undefined) return { mutant, verdict: 'unnoticeable', why: mutant.unnoticeable };
  try {
    const { passed, output } = await field.runWith(mutant);
    if (passed) return { mutant, verdict: 'survived' };
    if (values.verbose) console.log(output);
    // Only now: whatever passes has been judged already.
    if (!(await isSound(field, mutant))) return { mutant, verdict: 'invalid', why: 'its tests fail anyway' };
    return { mutant, verdict: 'noticed' };
  } catch (error) {
    return { mutant, verdict: 'invalid', why: error instanceof Error ? error.message : String(error) };
  }
}

const outcomes: Outcome[] = [];
await sharePostgres(); // one server for all runs whose faults are not in the tables: 3 s less for each
const waiting = [...chosen];
await Promise.all(
  Array.from({ length: Number(values.jobs) }, async () => {
    const field = new Field();
    try {
      for (let mutant = waiting.shift(); mutant; mutant = waiting.shift()) {
        const outcome = await judge(field, mutant);
        outcomes.push(outcome);
        const { verdict, why } = outcome;
        console.log(
          `${String(outcomes.length).padStart(4)}/${chosen.length} ${verdict.padEnd(9)} ${mutant.file}: ${mutant.breaks}${why === undefined ? '' : ` (${why})`}`,
        );
      }
    } finally {
      field.remove();
    }
  }),
);

await stopSharedPostgres();
await removeRunFolder();

const count = (verdict: Verdict): number => outcomes.filter((one) => one.verdict === verdict).length;
const [noticed, survived, invalid] = [count('noticed'), count('survived'), count('invalid')];
const share = noticed + survived === 0 ? 100 : (100 * noticed) / (noticed + survived);
console.log(
  `\n${noticed} noticed, ${survived} survived, ${invalid} could not be judged, ${count('unnoticeable')} that no test can notice: ${share.toFixed(1)} % of those judged are noticed.`,
);
if (share < Number(values.least) || invalid > 0) process.exitCode = 1;
