import { parseArgs } from 'node:util';

const benchmarks = [
  'submit',
  'read',
  'ranks',
  'rebuild',
  'fanout',
  'converge',
  'startup',
  'overload',
  'endurance',
  'compare',
] as const;
/** Not part of a run that names none: one takes long, and the other needs something to compare with. */
const onlyByName: readonly BenchmarkName[] = ['endurance', 'compare'];
export type BenchmarkName = (typeof benchmarks)[number];

/** What a run of benchmarks is asked for. */
export interface Options {
  readonly names: readonly BenchmarkName[];
  /** length of one measurement */
  readonly seconds: number;
  /** how long endurance lasts, after the capacity has been measured */
  readonly enduranceSeconds: number;
  readonly repeat: number;
  readonly size: 'smoke' | 'normal' | 'full';
  readonly partitions: readonly number[];
  readonly workers: readonly number[];
  /** plays under way at a time */
  readonly inFlight: number;
  /** who play, in turn; more than 20,000 are more than an API process keeps the verified tokens of */
  readonly players: number;
  /** whether players have never been seen by the API before their first play */
  readonly unseen: boolean;
  /** how many clients fanout measures with, one size after the other; the first is that of its soak */
  readonly clients: readonly number[];
  /** whether fanout runs for long, with clients that come and go */
  readonly soak: boolean;
  readonly save: boolean;
  /** whether submit tells where its last round spent its time; profiling slows it down */
  readonly profile: boolean;
  /** the checkout that compare holds this one against; else itself, which shows the noise */
  readonly against: string | undefined;
  /** the part of the other checkout's completions a second that compare asks for, per cent; below it, it fails */
  readonly atLeast: number | undefined;
}

const usage = `npm run bench -- [${benchmarks.join('|')} ...] [options]

  --seconds N       length of one measurement (30; soak 600; smoke 1)
  --endurance-seconds N  how long endurance lasts (600; smoke 2)
  --repeat N        how often submit, read and compare measure (3; smoke 1)
  --against FOLDER  compare: another checkout with its dependencies installed (this one, which shows the noise)
  --at-least N      compare: fail below N per cent of the other's completions a second
  --size SIZE       smoke: does it run? normal; full: ranks up to 10,000,000
  --partitions N,…  QUEUE_PARTITIONS to measure submit with (8)
  --workers N,…     worker processes to measure submit with (1)
  --in-flight N     plays under way at a time (128; smoke 8)
  --players N       players of submit, overload, endurance and compare (20000; smoke 500)
  --unseen          their first request to the API is their first play: nothing of them is in any memory
  --clients N,…     clients to measure fanout with (1000,5000,10000; soak 2000; smoke 50)
  --soak            fanout: a tenth of the clients reconnect a minute; does memory grow?
  --profile         submit, read, fanout: profile the tiers, and count what the stores do (slower)
  --save            write the tables into docs/benchmarks.md
`;

/** @throws with what to do, when the arguments are not understood */
export function readOptions(args: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      seconds: { type: 'string' },
      'endurance-seconds': { type: 'string' },
      repeat: { type: 'string' },
      size: { type: 'string', default: 'normal' },
      partitions: { type: 'string', default: '8' },
      workers: { type: 'string', default: '1' },
      'in-flight': { type: 'string' },
      players: { type: 'string' },
      unseen: { type: 'boolean', default: false },
      clients: { type: 'string' },
      soak: { type: 'boolean', default: false },
      save: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      against: { type: 'string' },
      'at-least': { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) throw new Error(usage);
  const unknown = positionals.filter((name) => !benchmarks.includes(name as BenchmarkName));
  if (unknown.length > 0) throw new Error(`There is no benchmark called ${unknown.join(', ')}.\n\n${usage}`);
  const { size } = values;
  if (size !== 'smoke' && size !== 'normal' && size !== 'full')
    throw new Error(`--size is smoke, normal or full.\n\n${usage}`);
  if (values.save && positionals.includes('compare'))
    throw new Error(`compare tells of a change, not of Laurel: it is not saved.\n\n${usage}`);
  const smoke = size === 'smoke';
  return {
    names:
      positionals.length > 0
        ? (positionals as BenchmarkName[])
        : benchmarks.filter((name) => !onlyByName.includes(name)),
    seconds: whole('seconds', values.seconds ?? (smoke ? '1' : values.soak ? '600' : '30')),
    enduranceSeconds: whole('endurance-seconds', values['endurance-seconds'] ?? (smoke ? '2' : '600')),
    repeat: whole('repeat', values.repeat ?? (smoke ? '1' : '3')),
    size,
    partitions: values.partitions.split(',').map((value) => whole('partitions', value)),
    workers: values.workers.split(',').map((value) => whole('workers', value)),
    inFlight: whole('in-flight', values['in-flight'] ?? (smoke ? '8' : '128')),
    players: whole('players', values.players ?? (smoke ? '500' : '20000')),
    unseen: values.unseen,
    clients: (values.clients ?? (smoke ? '50' : values.soak ? '2000' : '1000,5000,10000'))
      .split(',')
      .map((value) => whole('clients', value)),
    soak: values.soak,
    save: values.save,
    profile: values.profile,
    against: values.against,
    atLeast: values['at-least'] === undefined ? undefined : whole('at-least', values['at-least']),
  };
}

function whole(name: string, value: string): number {
  const number = Number(value);
  if (!Number.isInteger(number) || number < 1)
    throw new Error(`--${name} takes whole numbers from 1 up.\n\n${usage}`);
  return number;
}
