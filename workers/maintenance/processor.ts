import { UnrecoverableError, type Job, type Queue } from 'bullmq';
import Joi from 'joi';
import type { Catalog } from '../../common/catalog.ts';
import type { MaintenanceJobs, MaintenanceName } from '../../common/queues.ts';
import { check } from '../../common/validate.ts';
import { closePeriods } from './close-periods.ts';
import { sumDailyGains } from './daily-gains.ts';
import { finishErasures } from './erasures.ts';
import { expectedBoards } from './index-keeper.ts';
import { rebuildBoards } from './rebuild.ts';
import { reconcile, type ReconcileDeps } from './reconcile.ts';
import { forget } from './retention.ts';
import { sweepCorrections } from './sweep-corrections.ts';
import { sweepQueued, type SweepDeps } from './sweep.ts';
import { dropOldJobs, expire, forgetKeys } from './upkeep.ts';

export interface MaintenanceDeps extends ReconcileDeps, SweepDeps {
  readonly catalog: Catalog;
  /** places of a closed period that are kept, 0 = all */
  readonly archivedPlaces: number;
  /** told after each run for how long the period that is due the longest has waited, seconds */
  readonly onClosed: (lateSeconds: number) => void;
  /** how long IP addresses and user agents are kept */
  readonly privacyDays: number;
  /** how long tokens of outside identity services are good at most */
  readonly outsideTokenSeconds: number;
}

const SWEEP_EVERY_MS = 5000;
const EXPIRE_EVERY_MS = 30_000;
const CLOSE_EVERY_MS = 10_000;
const FORGET_EVERY_MS = 3_600_000;
const ERASE_EVERY_MS = 5_000;
const SUM_EVERY_MS = 1_200_000;

/** Says (again) which jobs repeat. However many processes say it, each tick is one job. */
export async function upsertSchedules(queue: Queue, reconcileEverySeconds: number): Promise<void> {
  const every: [MaintenanceName, number, MaintenanceJobs[MaintenanceName]][] = [
    ['reconcile', reconcileEverySeconds * 1000, { trigger: 'schedule' }],
    ['sweep', SWEEP_EVERY_MS, {}],
    ['expire', EXPIRE_EVERY_MS, {}],
    ['close', CLOSE_EVERY_MS, {}],
    ['forget', FORGET_EVERY_MS, {}],
    ['erase', ERASE_EVERY_MS, {}],
    ['sum', SUM_EVERY_MS, {}],
  ];
  for (const [name, ms, data] of every) {
    await queue.upsertJobScheduler(
      name,
      { every: ms },
      { name, data, opts: { removeOnComplete: { count: 50 }, removeOnFail: { count: 50 } } },
    );
  }
}

const reconcileData = Joi.object<MaintenanceJobs['reconcile']>({
  trigger: Joi.valid('schedule', 'cli', 'admin', 'restart').required(),
});

const sweepData = Joi.object<MaintenanceJobs['sweep']>({ all: Joi.boolean() });

/** Does what the maintenance queue asks for, by the job's name. */
export function createMaintenanceProcessor(deps: MaintenanceDeps) {
  const { catalog, index, db, queues, log } = deps;
  const rebuildMissing = async (): Promise<number> => {
    await catalog.reload();
    return rebuildBoards(await index.incomplete(expectedBoards(catalog)), deps);
  };
  const work: Record<MaintenanceName, (job: Job) => Promise<unknown>> = {
    rebuild: async () => ({ copied: await rebuildMissing() }),
    reconcile: async (job) => {
      const { trigger } = check(job.data, reconcileData);
      const run = await index.serverRun();
      await rebuildMissing();
      const found = await reconcile(expectedBoards(catalog), trigger, deps, job.id);
      await index.rememberReconciledRun(run);
      return found;
    },
    sweep: async (job) => {
      const { all } = check(job.data, sweepData);
      return {
        lookedAfter: await sweepQueued(deps, all),
        corrections: await sweepCorrections(deps, all),
      };
    },
    expire: async () => ({
      ...(await expire(db, deps.outsideTokenSeconds)),
      idempotencyKeys: await forgetKeys(db),
    }),
    forget: async () => ({
      ...(await forget(db, deps.privacyDays, deps.signal)),
      jobs: await dropOldJobs(queues),
    }),
    erase: async () => ({ erased: await finishErasures(db, queues) }),
    sum: async () => ({ entries: await sumDailyGains(db, deps.signal) }),
    close: async () => {
      const closed = await closePeriods({ db, redis: deps.redis, queues, log, most: deps.archivedPlaces });
      deps.onClosed(closed.lateSeconds);
      return closed;
    },
  };
  return async (job: Job): Promise<unknown> => {
    const perform = Object.hasOwn(work, job.name) ? work[job.name as MaintenanceName] : undefined;
    if (!perform) throw new UnrecoverableError(`There is no maintenance job called ${job.name}.`);
    return perform(job);
  };
}
