const EVERY_MS = 60_000;

/** Keeps what others cause from filling the log: of each thing one line a minute, which says how many it stands for. */
export class Seldom {
  readonly #known = new Map<string, { toldAt: number; untold: number }>();

  /**
   * @param what one of a few names, not what others may choose
   * @param tell gets how often it has happened since the line before, this time included
   * @param now ms since the epoch
   */
  tell(what: string, tell: (times: number) => void, now = Date.now()): void {
    const known = this.#known.get(what) ?? { toldAt: -Infinity, untold: 0 };
    this.#known.set(what, known);
    known.untold += 1;
    if (now - known.toldAt < EVERY_MS) return;
    const times = known.untold;
    known.untold = 0;
    known.toldAt = now;
    tell(times);
  }
}
