import Joi from 'joi';
import type { EventListener } from './events.ts';
import type { Logger } from './logger.ts';
import { Refresher } from './refresher.ts';
import type { Database } from './postgres.ts';

/** What operators can switch off while everything runs. */
export interface FeatureValues {
  /** updates to boards' rooms and streams */
  readonly broadcast: { readonly enabled: boolean; readonly mutedLeaderboards: readonly string[] };
  /** starting and completing actions; without it Laurel is read-only */
  readonly submissions: { readonly enabled: boolean };
}
export type FeatureKey = keyof FeatureValues;

/** As they are when nobody switched anything. */
const featureDefaults: FeatureValues = {
  broadcast: { enabled: true, mutedLeaderboards: [] },
  submissions: { enabled: true },
};
export const featureKeys = Object.keys(featureDefaults) as FeatureKey[];

const enabled = Joi.boolean().required();
export const featureSchemas: { readonly [K in FeatureKey]: Joi.ObjectSchema<FeatureValues[K]> } = {
  broadcast: Joi.object<FeatureValues['broadcast']>({
    enabled,
    mutedLeaderboards: Joi.array().items(Joi.string().max(64)).max(1000).unique().default([]),
  }),
  submissions: Joi.object<FeatureValues['submissions']>({ enabled }),
};

interface FeatureRow {
  key: string;
  value: unknown;
}

/** Reads all switches; unknown or unreadable rows count as not there. */
export async function readFeatures(db: Database): Promise<FeatureValues> {
  const rows = new Map((await db<FeatureRow>('features')).map(({ key, value }) => [key, value]));
  const read = <K extends FeatureKey>(key: K): FeatureValues[K] => {
    const { value, error } = featureSchemas[key].validate(rows.get(key), { convert: false }) as {
      value: FeatureValues[K] | undefined;
      error?: Error;
    };
    return error || value === undefined ? featureDefaults[key] : value;
  };
  return { broadcast: read('broadcast'), submissions: read('submissions') };
}

/** A switch acts within this time even where its announcement is lost, milliseconds. */
const RELOAD_MS = 900;

/** The switches as a process knows them. While Postgres is away they stay as they were. */
export class Features {
  readonly #db: Database;
  readonly #refresher: Refresher;
  readonly #handlers: (() => void)[] = [];
  #values = featureDefaults;

  constructor(db: Database, log: Logger) {
    this.#db = db;
    this.#refresher = new Refresher({
      what: 'switches',
      read: () => this.#read(),
      everyMs: RELOAD_MS,
      retryMs: RELOAD_MS,
      log,
    });
  }

  /** Reads the switches, listens for changes, and looks again all the time: one row or two, by key. */
  async start(events: EventListener): Promise<void> {
    await events.onChange((event) => {
      if (event.kind === 'features') void this.#refresher.now();
    });
    await this.#refresher.now();
  }

  stop(): void {
    this.#refresher.stop();
  }

  get submissions(): boolean {
    return this.#values.submissions.enabled;
  }

  /** Whether updates of a leaderboard are sent. */
  broadcasts(leaderboard: string): boolean {
    const { enabled: on, mutedLeaderboards } = this.#values.broadcast;
    return on && !mutedLeaderboards.includes(leaderboard);
  }

  /** Calls back after a switch was turned. */
  onChanged(handle: () => void): void {
    this.#handlers.push(handle);
  }

  async #read(): Promise<void> {
    const values = await readFeatures(this.#db);
    const changed = JSON.stringify(values) !== JSON.stringify(this.#values);
    this.#values = values;
    if (changed && !this.#refresher.stopped) for (const handle of this.#handlers) handle();
  }
}
