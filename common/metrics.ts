import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { uncaughtErrors } from './last-resort.ts';
import { droppedKeys } from './redis-unusable.ts';

/** Latency buckets in seconds, from a read in memory to a timeout. */
const seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Makes the metrics of one tier, all in a registry of its own. */
export function createMetrics(tier: string) {
  const registry = new Registry();
  registry.setDefaultLabels({ tier });
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  new Counter({
    name: 'laurel_uncaught_errors_total',
    help: 'Errors that nobody has caught. The process ends because of the first.',
    registers,
    collect() {
      this.reset();
      this.inc(uncaughtErrors());
    },
  });
  new Counter({
    name: 'laurel_redis_keys_dropped_total',
    help: 'Keys dropped from Redis because they held what Laurel does not keep there: somebody else writes to it.',
    registers,
    collect() {
      this.reset();
      this.inc(droppedKeys());
    },
  });
  return {
    registry,
    counter: <L extends string>(name: string, help: string, labelNames: readonly L[] = []): Counter<L> =>
      new Counter({ name, help, labelNames: [...labelNames], registers }),
    gauge: <L extends string>(
      name: string,
      help: string,
      labelNames: readonly L[] = [],
      collect?: (gauge: Gauge<L>) => void | Promise<void>,
    ): Gauge<L> =>
      new Gauge<L>({
        name,
        help,
        labelNames: [...labelNames],
        registers,
        ...(collect && {
          collect(this: Gauge<L>) {
            return collect(this);
          },
        }),
      }),
    histogram: <L extends string>(
      name: string,
      help: string,
      labelNames: readonly L[] = [],
      buckets = seconds,
    ): Histogram<L> => new Histogram({ name, help, labelNames: [...labelNames], buckets, registers }),
  };
}

/**
 * The figures of tiers that share a process, as one page: what several of them have is named once, and told apart by its `tier`.
 */
export async function pageOf(registries: readonly Registry[]): Promise<string> {
  const metrics = new Map<string, string>();
  for (const registry of registries) {
    for (const block of (await registry.metrics()).split(/^(?=# HELP )/m)) {
      const [help = '', type = '', ...samples] = block.trimEnd().split('\n');
      if (help === '') continue;
      const known = metrics.get(help) ?? `${help}\n${type}`;
      metrics.set(help, [known, ...samples].join('\n'));
    }
  }
  return `${[...metrics.values()].join('\n\n')}\n`;
}

export type Metrics = ReturnType<typeof createMetrics>;
