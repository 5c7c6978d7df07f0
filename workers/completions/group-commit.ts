import { nameOf } from '../../common/actions.ts';
import { Batcher } from '../../common/batcher.ts';
import type { CompletionReply } from '../../common/events.ts';
import type { Logger } from '../../common/logger.ts';
import { Interrupted, untilDone } from '../../common/patience.ts';
import { isTransient } from '../../common/postgres.ts';
import type { CompletionJob } from '../../common/queues.ts';
import { isRedisAway } from '../../common/redis.ts';
import type { Ledger } from './ledger.ts';
import type { Publisher } from './publisher.ts';

/** What a partition brings to a transaction. */
export interface Line {
  /** the completion that holds the partition's slot, unless it was applied before */
  readonly first: CompletionJob | undefined;
  /** What waits behind it, in order. Asked for when the line's turn has come, so that whatever came meanwhile goes along. */
  readonly takeAlong: () => Promise<readonly CompletionJob[]>;
}
/** What became of completions, by their names. */
export type Replies = ReadonlyMap<string, CompletionReply>;
type Outcome = { readonly replies: Replies } | { readonly error: unknown };

export interface GroupCommitDeps {
  readonly ledger: Ledger;
  readonly publisher: Publisher;
  readonly log: Logger;
  /** ends waiting for an absent store */
  readonly signal: AbortSignal;
  /** told how many completions shared a transaction */
  readonly onBatch: (size: number) => void;
}

/** Partitions that share a transaction, at most. */
const LINES_A_COMMIT = 32;
/** After so long a commit is left to itself, and the next one begins: it may wait for a lock that others do not need. */
const PATIENCE_MS = 100;

/**
 * Applies what the partitions of this process bring at the same time in one transaction, and publishes it in one go: what a
 * commit costs is shared by all who wait for one. A user stands in one partition's line only, and that line waits for its
 * commit, so that nothing of a user's is reordered.
 */
export class GroupCommit {
  readonly #deps: GroupCommitDeps;
  readonly #lines: Batcher<Line, Outcome>;

  constructor(deps: GroupCommitDeps) {
    this.#deps = deps;
    this.#lines = new Batcher((lines) => this.#commitTogether(lines), LINES_A_COMMIT, 1, PATIENCE_MS);
  }

  /** Whether completions are being applied now. */
  get isBusy(): boolean {
    return this.#lines.isBusy;
  }

  /**
   * Applies a partition's completions in order, and waits out an absent store. If one of them breaks the transaction, only
   * the first is applied, so that each is judged alone.
   *
   * @returns what became of those that were applied, by their names
   * @throws {@link Interrupted}, or what makes the first one impossible
   */
  async apply(line: Line): Promise<Replies> {
    const outcome = await this.#lines.add(line);
    if ('error' in outcome) throw outcome.error;
    return outcome.replies;
  }

  async #commitTogether(lines: readonly Line[]): Promise<Outcome[]> {
    const parts = await Promise.all(
      lines.map(async ({ first, takeAlong }) => [...(first ? [first] : []), ...(await takeAlong())]),
    );
    return this.#commit(parts);
  }

  /** @throws when nothing was applied; the error of one part of several is that line's outcome */
  async #commit(parts: readonly (readonly CompletionJob[])[]): Promise<Outcome[]> {
    const { ledger, publisher, log, onBatch } = this.#deps;
    const jobs = parts.flat();
    if (jobs.length === 0) return parts.map(() => ({ replies: new Map() }));
    let batch;
    try {
      batch = await this.#untilStoresAnswer(() => ledger.apply(jobs), isTransient);
    } catch (error) {
      if (jobs.length === 1 || error instanceof Interrupted) throw error;
      log.error({ err: error, count: jobs.length }, 'a batch failed; applying its parts alone');
      const outcomes: Outcome[] = [];
      for (const part of parts) {
        const alone = parts.length > 1 ? part : part.slice(0, 1);
        outcomes.push(...(await this.#commit([alone]).catch((reason: unknown) => [{ error: reason }])));
      }
      return outcomes;
    }
    onBatch(batch.jobs.length);
    const replies = await this.#untilStoresAnswer(
      () => publisher.publish(batch),
      (error) => isTransient(error) || isRedisAway(error),
    );
    const known = { replies: new Map(replies.map((reply) => [nameOf(reply), reply])) };
    return parts.map(() => known);
  }

  #untilStoresAnswer<T>(work: () => Promise<T>, isPassing: (error: unknown) => boolean): Promise<T> {
    const { log, signal } = this.#deps;
    return untilDone(work, isPassing, signal, (err) => log.warn({ err }, 'waiting for a store'));
  }
}
