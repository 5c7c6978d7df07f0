import type { ActionEvent, CompletionReply } from '../../common/events.ts';
import type { JobSignatures } from '../../common/job-signatures.ts';
import type { Logger } from '../../common/logger.ts';
import type { Database } from '../../common/postgres.ts';
import { parsePartitionJob, type CompletionJob } from '../../common/queues.ts';
import { unwrap, type Redis } from '../../common/redis.ts';
import { isObject } from '../../common/validate.ts';

/** A row of `queued_completions`: a completion that was accepted with a 202. */
export interface QueuedRow {
  readonly actionId: string;
  readonly userId: string;
  readonly payload: unknown;
  /** ms since the epoch */
  readonly acceptedAt: number;
}

/** Why a job or a row is not taken; a word that a metric can carry. */
export type UnfitReason = 'unreadable' | 'unsigned' | 'refused';

/** Reads the payload of a row. @returns the completion, or why it is not taken */
export function readRow(
  { actionId, userId, payload }: QueuedRow,
  signatures: JobSignatures,
): CompletionJob | UnfitReason {
  try {
    const job = parsePartitionJob(payload);
    if (job.kind !== 'completion' || job.actionId !== actionId || job.userId !== userId) return 'unreadable';
    return signatures.verify(job) ? job : 'unsigned';
  } catch {
    return 'unreadable';
  }
}

const LONGEST_ID = 128;
const LARGEST_PAYLOAD = 16_384;
const idIn = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' && value.length <= LONGEST_ID && !value.includes('\0')
    ? value
    : undefined;

/** A payload as Postgres can keep it; of one that it cannot, nothing. */
function keptPayload(payload: unknown): string {
  const text = JSON.stringify(payload ?? null);
  return text.length > LARGEST_PAYLOAD || /\\u0000|\\ud[89a-f]/i.test(text) ? '{}' : text;
}

/**
 * Sets completions aside that no worker can apply, so that none of them stops a line, a sweep or the close of a season. Its player
 * hears that it was rejected; an administrator sees it with its reason, and may have it tried again.
 */
export class SetAside {
  readonly #db: Database;
  readonly #redis: Redis;
  readonly #log: Logger;
  readonly #onSetAside: (reason: UnfitReason) => void;

  constructor(deps: {
    readonly db: Database;
    readonly redis: Redis;
    readonly log: Logger;
    /** told of each, for a metric */
    readonly onSetAside: (reason: UnfitReason) => void;
  }) {
    this.#db = deps.db;
    this.#redis = deps.redis;
    this.#log = deps.log;
    this.#onSetAside = deps.onSetAside;
  }

  /** A completion of the API's that can never be applied. @throws when Postgres is away */
  async job(job: CompletionJob, error: unknown): Promise<void> {
    const { actionId, userId, acceptedAt, client, replyTo } = job;
    const reason = error instanceof Error ? error.message : String(error);
    await this.#setAside({ actionId, userId, acceptedAt, payload: job, client }, 'refused', reason, true);
    await this.#tell(actionId, userId, replyTo);
  }

  /** A row that was accepted, in a form that this version does not read, or without the API's signature. */
  async row(row: QueuedRow, reason: UnfitReason): Promise<void> {
    await this.#setAside(row, reason, reason, true);
    await this.#tell(row.actionId, row.userId, undefined);
  }

  /**
   * A job that is not the API's. Anybody who can write to Redis may have made it: it changes no action, and takes the place of no
   * acceptance. Without ids it is left to the queue's list of failed jobs.
   */
  async stranger(jobId: string, data: unknown, reason: UnfitReason): Promise<void> {
    const actionId = isObject(data) ? (idIn(data['actionId']) ?? idIn(jobId)) : undefined;
    const userId = isObject(data) ? idIn(data['userId']) : undefined;
    if (actionId === undefined || userId === undefined) {
      this.#note(jobId, undefined, reason, reason);
      return;
    }
    await this.#setAside({ actionId, userId, acceptedAt: Date.now(), payload: data }, reason, reason, false);
  }

  async #setAside(
    item: QueuedRow & { readonly client?: unknown },
    reason: UnfitReason,
    detail: string,
    accepted: boolean,
  ): Promise<void> {
    const { actionId, userId, acceptedAt, client } = item;
    const payload: unknown = JSON.parse(keptPayload(item.payload));
    const about = { actionId, userId, acceptedAt, payload, client, reason: detail };
    const { rows } = await this.#db.raw<{ rows: { done: boolean }[] }>(
      'select set_aside_completion(?::jsonb, ?) as done',
      [JSON.stringify(about), accepted],
    );
    if (rows[0]?.done) this.#note(actionId, userId, reason, detail);
  }

  #note(actionId: string, userId: string | undefined, reason: UnfitReason, detail: string): void {
    this.#onSetAside(reason);
    const about = { actionId, userId, reason: detail };
    if (reason === 'unsigned')
      this.#log.warn({ channel: 'security', event: 'job_unsigned', ...about }, 'security event');
    else this.#log.error(about, 'a completion was set aside; see GET /api/v1/admin/dead-completions');
  }

  /** Answers the request that waits, if any, and tells the player's sockets what became of the action. */
  async #tell(actionId: string, userId: string, replyTo: string | undefined): Promise<void> {
    const reply: CompletionReply = { actionId, userId, outcome: 'rejected' };
    const ended: ActionEvent = { kind: 'result', actionId, userId };
    const { names } = this.#redis;
    const pipeline = this.#redis
      .pipeline()
      .del(names.action(userId, actionId))
      .zrem(names.openActions(userId), actionId)
      .publish(names.channels.actions, JSON.stringify([ended]));
    if (replyTo !== undefined) pipeline.publish(names.channels.replies(replyTo), JSON.stringify([reply]));
    // Without Redis no event goes out now; the action's status tells it.
    await pipeline
      .exec()
      .then(unwrap)
      .catch((err: unknown) => this.#log.debug({ err, actionId }, 'not told yet'));
  }
}
