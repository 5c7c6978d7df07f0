import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { uncaughtErrors } from './last-resort.ts';

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

export type Metrics = ReturnType<typeof createMetrics>;
