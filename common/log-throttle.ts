const EVERY_MS = 60_000;

/** Keeps events that other programs cause from filling the log: one line a minute and kind, which says how many it stands for. */
export class LogThrottle {
  readonly #known = new Map<string, { loggedAt: number; unlogged: number }>();

  /**
   * @param kind one of a few names, never a text from outside: each is kept
   * @param log gets how often it has happened since the line before, this time included
   * @param now ms since the epoch
   */
  log(kind: string, log: (times: number) => void, now = Date.now()): void {
    const known = this.#known.get(kind) ?? { loggedAt: -Infinity, unlogged: 0 };
    this.#known.set(kind, known);
    known.unlogged += 1;
    if (now - known.loggedAt < EVERY_MS) return;
    const times = known.unlogged;
    known.unlogged = 0;
    known.loggedAt = now;
    log(times);
  }
}
