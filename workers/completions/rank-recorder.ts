import type { Logger } from '../../common/logger.ts';
import type { Ledger } from './ledger.ts';

/** `entered`: the rank with which it entered the top of the global leaderboard, which unlocks achievements. */
type Ranks = readonly [
  actionId: string,
  previous: number | null,
  current: number | null,
  entered: number | null,
];

const EVERY_MS = 100;
/** What is kept while Postgres is away; the ranks of more completions than that are not worth the memory. */
const MOST = 100_000;

/**
 * Writes down the ranks that completions were answered with, so that a replay gets the first answer even after Redis lost
 * everything. Ranks are known only after the transaction; they follow in batches of their own, off the player's path.
 */
export class RankRecorder {
  readonly #ledger: Ledger;
  readonly #log: Logger;
  #waiting: Ranks[] = [];
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(ledger: Ledger, log: Logger) {
    this.#ledger = ledger;
    this.#log = log;
  }

  add(ranks: readonly Ranks[]): void {
    if (this.#waiting.length + ranks.length <= MOST) this.#waiting.push(...ranks);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#writing = this.#writing.then(() => this.#write());
    }, EVERY_MS);
  }

  /** Writes what is left. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#writing;
    await this.#write();
    clearTimeout(this.#timer);
  }

  async #write(): Promise<void> {
    const batch = this.#waiting;
    if (batch.length === 0) return;
    this.#waiting = [];
    try {
      await this.#ledger.recordRanks(batch);
    } catch (error) {
      this.#log.debug({ err: error, count: batch.length }, 'ranks could not be kept yet');
      this.add(batch);
    }
  }
}
