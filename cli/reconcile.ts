import Joi from 'joi';
import { createLogger } from '../common/logger.ts';
import { delay } from '../common/patience.ts';
import { Queues } from '../common/queues.ts';
import { closeRedis, createRedis, untilReady } from '../common/redis.ts';
import { check } from '../common/validate.ts';
import { withoutPassword } from '../common/postgres-address.ts';
import { Failure, reasonOf } from './failure.ts';
import type { Settings } from './settings.ts';

const CONNECT_MS = 5000;
const POLL_MS = 200;
/** How long the job may wait for a worker, milliseconds; again after a worker that died with it in hand. */
const PICKUP_MS = 60_000;

/** What the maintenance job answers; see workers/maintenance/reconcile.ts. */
interface Reconciliation {
  readonly id: string;
  readonly boards: number;
  readonly compared: number;
  readonly drifted: number;
}

const count = Joi.number().integer().min(0).required();
const schema = Joi.object<Reconciliation>({
  id: Joi.string().required(),
  boards: count,
  compared: count,
  drifted: count,
}).unknown();

/** Has a worker compare Redis with Postgres, and tells what it found. */
export async function runReconcile(
  settings: Settings<'REDIS_URL'>,
  options: { json?: boolean },
): Promise<void> {
  const redis = createRedis(
    settings.REDIS_URL,
    'commands',
    createLogger('cli', 'silent'),
    settings.REDIS_PREFIX,
  );
  const queues = new Queues(redis, settings.QUEUE_PARTITIONS);
  try {
    await untilReady(redis, CONNECT_MS).catch((error: unknown) => {
      throw new Failure(
        `Redis at ${withoutPassword(settings.REDIS_URL)} did not answer within ${CONNECT_MS / 1000} s. Check REDIS_URL, and that the server runs.`,
        { cause: error },
      );
    });
    const id = await queues.requestMaintenance('reconcile', { trigger: 'cli' });
    print(check(await resultOf(queues, id), schema), options.json ?? false);
  } finally {
    await queues.close();
    await closeRedis(redis);
  }
}

/** Waits for the job's end. Polled: a lost event must not leave the operator waiting for ever. */
async function resultOf(queues: Queues, id: string): Promise<unknown> {
  let waitingSince = Date.now();
  for (;;) {
    const state = await queues.maintenance.getJobState(id);
    if (state === 'completed') return (await queues.maintenance.getJob(id))?.returnvalue as unknown;
    if (state === 'failed') {
      const reason = (await queues.maintenance.getJob(id))?.failedReason ?? 'unknown';
      throw new Failure(
        `The reconciliation failed: ${reasonOf(reason)}. See Bull Board (/admin/queues) and the workers’ log.`,
      );
    }
    if (state === 'unknown') {
      throw new Failure(`The job ${id} has vanished from Redis. Run this again.`);
    }
    if (state === 'active') waitingSince = Date.now();
    else if (Date.now() - waitingSince > PICKUP_MS) {
      throw new Failure(
        `No worker took the job within ${PICKUP_MS / 1000} s. Check that a workers process runs on this Redis; the job stays in the queue, and runs when there is one.`,
      );
    }
    await delay(POLL_MS);
  }
}

function print({ id, boards, compared, drifted }: Reconciliation, json: boolean): void {
  if (json) {
    console.log(JSON.stringify({ id, boards, compared, drifted }));
    return;
  }
  const row = (cells: (string | number)[]): string => cells.map((cell) => String(cell).padStart(10)).join('');
  console.log(row(['boards', 'compared', 'drifted']));
  console.log(row([boards, compared, drifted]));
  console.log(
    drifted === 0
      ? 'Redis agrees with Postgres.'
      : `Redis differed for ${drifted} ${drifted === 1 ? 'user' : 'users'}. Their repairs are in the queues, and done within seconds; run this again to see.`,
  );
}
