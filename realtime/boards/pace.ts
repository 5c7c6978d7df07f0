/** How much the newest measurement counts against those before it. */
const NEWEST_WEIGHT = 0.3;

/**
 * How far apart a board's frames must be, so that sending them takes no more than a share of the event loop. Sending to a
 * large room costs tens of milliseconds in which nothing else happens; boards that are that dear share the share.
 */
export class Pace {
  readonly #windowMs: number;
  readonly #share: number;
  readonly #costs = new Map<string, number>();

  /** @param windowMs the least distance of two frames @param share of the event loop's time, 0 to 1 */
  constructor(windowMs: number, share: number) {
    this.#windowMs = windowMs;
    this.#share = share;
  }

  /** The least time between two frames of a board, milliseconds. */
  spacing(board: string): number {
    const affordable = this.#windowMs * this.#share;
    const dear = [...this.#costs.values()].filter((cost) => cost > affordable).length;
    return Math.max(this.#windowMs, ((this.#costs.get(board) ?? 0) * dear) / this.#share);
  }

  /** Takes note of what sending one frame took, milliseconds. */
  measured(board: string, costMs: number): void {
    const known = this.#costs.get(board) ?? costMs;
    this.#costs.set(board, known + (costMs - known) * NEWEST_WEIGHT);
  }

  forget(board: string): void {
    this.#costs.delete(board);
  }
}
