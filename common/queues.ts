import { hash } from 'node:crypto';
import { Queue, type JobsOptions } from 'bullmq';
import Joi from 'joi';
import { unwrap, type Redis } from './redis.ts';
import { keptAddress, LONGEST_IP } from './client-ip.ts';
import { userIdPattern } from './ids.ts';
import { check, isObject } from './validate.ts';

/** A client-signed completion's own terms, fixed by the server when it accepted it. */
interface ClientTerms {
  readonly type: string;
  readonly leaderboard: string;
  readonly points: number;
  readonly difficulty?: string;
}

/** A verified completion on its way to the ledger. The job's id is the action's. */
export interface CompletionJob {
  readonly kind: 'completion';
  readonly actionId: string;
  readonly userId: string;
  /** ms since the epoch, by Redis's clock */
  readonly acceptedAt: number;
  /** hex SHA-256 of the action token; null when client-signed */
  readonly tokenHash: string | null;
  readonly ip: string | null;
  readonly userAgent: string | null;
  /** the API instance that waits for the result */
  readonly replyTo: string;
  /** how long it waits before it answers 202, milliseconds: a completion that ends later is told by an event */
  readonly waitMs?: number;
  readonly client?: ClientTerms;
  /** what the game said of the completion, as JSON */
  readonly metadata?: string;
  /** the API's signature, see {@link JobSignatures}; workers take nothing without it */
  readonly sig?: string;
}

/** Puts a user's rows of Postgres into Redis anew, in the user's own line, so that it cannot race with play. */
interface ResyncJob {
  readonly kind: 'resync';
  readonly userId: string;
}

/** A score changed by an administrator's hand, in the user's own line. The job's id is the transaction's. */
export interface CorrectionJob {
  readonly kind: 'correction';
  readonly correction: 'adjustment' | 'rollback';
  readonly transactionId: string;
  readonly userId: string;
  /** adjustment: where, and by how much */
  readonly leaderboard?: string;
  readonly delta?: number;
  /** rollback: the ledger entry that is taken back */
  readonly reverses?: string;
  readonly reason: string;
  /** the administrator */
  readonly actor: string;
  /** ms since the epoch */
  readonly acceptedAt: number;
  readonly replyTo: string;
  /** the API's signature, see {@link JobSignatures}; workers take nothing without it */
  readonly sig?: string;
}

export type PartitionJob = CompletionJob | ResyncJob | CorrectionJob;

/** `metadata` of an action, serialized, characters. */
export const MAX_METADATA = 1024;
const MAX_SIGNATURE = 64;

const userId = Joi.string().pattern(userIdPattern).required();
export const completionJobSchema = Joi.object<CompletionJob>({
  kind: Joi.valid('completion').required(),
  actionId: Joi.string().max(64).required(),
  userId,
  acceptedAt: Joi.number().integer().positive().required(),
  tokenHash: Joi.string().hex().length(64).allow(null).required(),
  ip: Joi.string().max(LONGEST_IP).allow(null).required(),
  userAgent: Joi.string().max(512).allow(null, '').required(),
  replyTo: Joi.string().max(64).required(),
  waitMs: Joi.number().integer().min(0),
  client: Joi.object({
    type: Joi.string().required(),
    leaderboard: Joi.string().required(),
    points: Joi.number().integer().min(0).required(),
    difficulty: Joi.string(),
  }),
  metadata: Joi.string().max(MAX_METADATA),
  sig: Joi.string().max(MAX_SIGNATURE),
});
const resyncJob = Joi.object<ResyncJob>({ kind: Joi.valid('resync').required(), userId });
const correctionJob = Joi.object<CorrectionJob>({
  kind: Joi.valid('correction').required(),
  correction: Joi.valid('adjustment', 'rollback').required(),
  transactionId: Joi.string().max(64).required(),
  userId,
  leaderboard: Joi.string().max(64),
  delta: Joi.number().integer(),
  reverses: Joi.string().max(64),
  reason: Joi.string().max(500).required(),
  actor: Joi.string().max(128).required(),
  acceptedAt: Joi.number().integer().positive().required(),
  replyTo: Joi.string().max(64).required(),
  sig: Joi.string().max(MAX_SIGNATURE),
});
const partitionJobs: Record<string, Joi.Schema<PartitionJob>> = {
  completion: completionJobSchema as Joi.Schema,
  resync: resyncJob as Joi.Schema,
  correction: correctionJob as Joi.Schema,
};

const isText =
  (most: number) =>
  (value: unknown): boolean =>
    typeof value === 'string' && value !== '' && value.length <= most;
const isPositive = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) > 0;
const ordinary: Record<string, (value: unknown) => boolean> = {
  kind: (value) => value === 'completion',
  actionId: isText(64),
  userId: (value) => typeof value === 'string' && userIdPattern.test(value),
  acceptedAt: isPositive,
  tokenHash: (value) => typeof value === 'string' && /^[0-9a-f]{64}$/i.test(value),
  ip: (value) => value === null || isText(LONGEST_IP)(value),
  userAgent: (value) => value === null || isText(512)(value),
  replyTo: isText(64),
  waitMs: (value) => value === undefined || isPositive(value),
  metadata: (value) => value === undefined || isText(MAX_METADATA)(value),
  sig: (value) => value === undefined || isText(MAX_SIGNATURE)(value),
};
const ordinaryFields = Object.entries(ordinary);

/** Checks what the schema says of nearly every job, at a fraction of its cost; the rest is left to the schema. */
const isOrdinaryCompletion = (data: unknown): boolean =>
  isObject(data) &&
  Object.keys(data).every((field) => Object.hasOwn(ordinary, field)) &&
  ordinaryFields.every(([field, holds]) => holds(data[field]));

/**
 * Checks a payload of a partition's queue. Producers ask it, too, before they promise anything: what one side writes the other
 * takes. An address that cannot be one is taken for unknown, and stops nothing.
 *
 * @throws when it is not one; such a job can only fail
 */
export function parsePartitionJob(data: unknown): PartitionJob {
  if (isOrdinaryCompletion(data)) return data as CompletionJob;
  const kind = String((data as { kind?: unknown } | null)?.kind);
  const schema =
    (Object.hasOwn(partitionJobs, kind) ? partitionJobs[kind] : undefined) ??
    (completionJobSchema as Joi.Schema);
  const known =
    isObject(data) && typeof data['ip'] === 'string' ? { ...data, ip: keptAddress(data['ip']) } : data;
  return check(known, schema, 'The job’s payload is not one that Laurel wrote:');
}

/** What the maintenance queue can be asked to do, and what each job is told. */
export interface MaintenanceJobs {
  /** Makes boards that are missing from Redis again. */
  rebuild: Record<string, never>;
  /** Compares every board in Redis with Postgres, and repairs what differs. */
  reconcile: { readonly trigger: 'schedule' | 'cli' | 'admin' | 'restart' };
  /** Enqueues accepted completions that Redis forgot; `all`, even those of the last seconds. */
  sweep: { readonly all?: boolean };
  /** Ends what has expired: open actions, refresh tokens. */
  expire: Record<string, never>;
  /** Clears personal data that may not be kept any longer. */
  forget: Record<string, never>;
  /** Clears what requests under way have written of users since they were erased. */
  erase: Record<string, never>;
  /** Adds new ledger entries to the daily sums that histories are read from. */
  sum: Record<string, never>;
  /** Closes periods that have ended, and freezes their standings. */
  close: Record<string, never>;
}
export type MaintenanceName = keyof MaintenanceJobs;

export const MAINTENANCE_QUEUE = 'maintenance';
export const partitionQueue = (partition: number): string => `completions-${partition}`;

/** The partition whose line a user stands in. */
export function partitionOf(user: string, partitions: number): number {
  return hash('sha1', user, 'buffer').readUInt32BE(0) % partitions;
}

const HOUR_S = 3600;
/**
 * Finished jobs are kept for a look at Bull Board; Postgres, not the queue, remembers what was done. They hold addresses, and so
 * do not stay longer than such a look needs. See `dropOldJobs` for queues in which nothing else ends.
 */
export const finishedJobsKept = { completedS: HOUR_S, failedS: 30 * 24 * HOUR_S } as const;
const kept: JobsOptions = {
  removeOnComplete: { count: 200, age: finishedJobsKept.completedS },
  removeOnFail: { age: finishedJobsKept.failedS },
};
const keptLong: JobsOptions = { removeOnComplete: { count: 500 }, removeOnFail: { count: 500 } };

/** What waits in a queue. */
export interface QueueBacklog {
  readonly queue: string;
  readonly waiting: number;
  /** how long the oldest has waited, milliseconds; 0 when none waits */
  readonly oldestMs: number;
}

/** Producers of every queue. */
export class Queues {
  readonly partitions: readonly Queue<PartitionJob>[];
  readonly maintenance: Queue;
  readonly #redis: Redis;
  /** the partitions of which it was said in this turn of the event loop that their jobs run one at a time */
  readonly #said = new Map<Queue, Promise<unknown>>();

  /** @param redis a connection of use `commands`; the caller closes it */
  constructor(redis: Redis, partitions: number) {
    this.#redis = redis;
    const producer = { connection: redis, prefix: redis.names.prefix, skipVersionCheck: true };
    this.partitions = Array.from(
      { length: partitions },
      (_, partition) =>
        new Queue<PartitionJob>(partitionQueue(partition), { ...producer, defaultJobOptions: kept }),
    );
    this.maintenance = new Queue(MAINTENANCE_QUEUE, { ...producer, defaultJobOptions: keptLong });
    for (const queue of this.all) queue.on('error', () => undefined); // the connection logs its own state
  }

  get all(): readonly Queue[] {
    return [...this.partitions, this.maintenance];
  }

  /**
   * Puts a completion into its user's line. A second time with the same action id changes nothing.
   *
   * @throws when Redis is away; whether the job was added is not known then
   */
  async enqueueCompletion(job: CompletionJob): Promise<void> {
    await this.#enqueue(parsePartitionJob(job), 'completion', { jobId: job.actionId });
  }

  /**
   * Puts completions back into their lines that Redis holds no longer, or whose job has ended without having been applied: such
   * a job would otherwise make every later one of its id be ignored.
   *
   * @returns how many were put back
   */
  async reviveCompletions(jobs: readonly CompletionJob[]): Promise<number> {
    const looks = this.#redis.pipeline();
    for (const job of jobs) looks.hmget(this.#queueOf(job).toKey(job.actionId), 'timestamp', 'finishedOn');
    const found = unwrap(await looks.exec()) as [string | null, string | null][];
    const ended = jobs.filter((_, i) => found[i]?.[0] === null || found[i]?.[1] !== null);
    for (const job of ended) {
      const before = await this.#queueOf(job).getJob(job.actionId);
      // One that runs again by now is locked, and stays.
      await before?.remove().catch(() => undefined);
      await this.enqueueCompletion(job);
    }
    return ended.length;
  }

  /**
   * Puts a repair into the user's line. Never dropped in favour of an earlier one: that one may have read what it writes
   * already, and a ban that came after its read would be lost.
   */
  async enqueueResync(user: string): Promise<void> {
    const queue = this.#queueOf({ userId: user });
    await this.#serialize(queue);
    await queue.add('resync', { kind: 'resync', userId: user }, { removeOnComplete: true });
  }

  /** Puts a correction into the user's line. A second time with the same transaction id changes nothing. */
  async enqueueCorrection(job: CorrectionJob): Promise<void> {
    await this.#enqueue(job, job.correction, { jobId: job.transactionId });
  }

  async #enqueue(job: PartitionJob, name: string, options: JobsOptions): Promise<void> {
    const queue = this.#queueOf(job);
    await Promise.all([this.#serialize(queue), queue.add(name, job, options)]);
  }

  #queueOf({ userId: user }: { readonly userId: string }): Queue<PartitionJob> {
    const queue = this.partitions[partitionOf(user, this.partitions.length)];
    if (!queue) throw new Error('QUEUE_PARTITIONS must be at least 1');
    return queue;
  }

  /**
   * Says (again) that one job of the partition runs at a time, over all processes. The setting lives in Redis, and a
   * Redis that lost its data would otherwise let two workers overtake each other. Once is enough for what is enqueued in one
   * turn of the event loop: it all leaves in one write.
   */
  async #serialize(queue: Queue<PartitionJob>): Promise<void> {
    let said = this.#said.get(queue);
    if (!said) {
      said = this.#redis.hset(queue.toKey('meta'), 'concurrency', 1);
      this.#said.set(queue, said);
      if (this.#said.size === 1) setImmediate(() => this.#said.clear());
    }
    await said;
  }

  /** Asks for a maintenance job; while one of the name waits, asking again changes nothing. */
  async requestMaintenance<N extends MaintenanceName>(name: N, data: MaintenanceJobs[N]): Promise<string> {
    const job = await this.maintenance.add(name, data, { deduplication: { id: name } });
    return job.id ?? name;
  }

  /** Says of every partition that one of its jobs runs at a time, over all processes. */
  async serialize(): Promise<void> {
    await Promise.all(this.partitions.map((queue) => this.#serialize(queue)));
  }

  /** How much waits in these queues, and for how long. */
  async backlog(queues: readonly Queue[] = this.all): Promise<QueueBacklog[]> {
    const lines = this.#redis.pipeline();
    // Jobs come in at the head of the list, and are taken from its tail.
    for (const queue of queues) lines.llen(queue.toKey('wait')).lindex(queue.toKey('wait'), -1);
    const replies = unwrap(await lines.exec());
    const times = this.#redis.pipeline();
    queues.forEach((queue, i) => times.hget(queue.toKey(String(replies[2 * i + 1])), 'timestamp'));
    const since = unwrap(await times.exec());
    const now = Date.now();
    return queues.map(({ name }, i) => ({
      queue: name,
      waiting: Number(replies[2 * i]),
      oldestMs: since[i] === null ? 0 : Math.max(0, now - Number(since[i])),
    }));
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map((queue) => queue.close()));
  }
}
