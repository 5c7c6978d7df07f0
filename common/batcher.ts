/**
 * Gathers calls that come while earlier ones are under way, and does them together. A lone call is done at once; under
 * load many share one round trip. Batches may overlap up to a limit, and calls of one batch succeed or fail together.
 */
export class Batcher<T, R> {
  readonly #work: (items: T[]) => Promise<readonly R[]>;
  readonly #most: number;
  readonly #atOnce: number;
  readonly #patienceMs: number | undefined;
  #waiting: { item: T; resolve: (result: R) => void; reject: (error: unknown) => void }[] = [];
  #running = 0;

  /**
   * @param work does a batch, and returns one result for each item, in order
   * @param most items a batch
   * @param atOnce batches under way together
   * @param patienceMs a batch that takes longer no longer counts, so that what it waits for does not hold up the others
   */
  constructor(
    work: (items: T[]) => Promise<readonly R[]>,
    most: number,
    atOnce = Infinity,
    patienceMs?: number,
  ) {
    this.#work = work;
    this.#most = most;
    this.#atOnce = atOnce;
    this.#patienceMs = patienceMs;
  }

  /** Whether a batch is under way. */
  get isBusy(): boolean {
    return this.#running > 0;
  }

  add(item: T): Promise<R> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      // Not at once, so that calls of one turn of the event loop go together.
      if (this.#waiting.length === 1) setImmediate(() => this.#next());
    });
  }

  #next(): void {
    while (this.#running < this.#atOnce && this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, this.#most);
      const release = this.#count();
      this.#work(batch.map(({ item }) => item))
        .then(
          (results) => batch.forEach(({ resolve }, i) => resolve(results[i] as R)),
          (error: unknown) => batch.forEach(({ reject }) => reject(error)),
        )
        .finally(release);
    }
  }

  /** Counts a batch as under way. @returns what ends that; harmless when repeated */
  #count(): () => void {
    this.#running += 1;
    let counts = true;
    const release = (): void => {
      if (!counts) return;
      counts = false;
      clearTimeout(timer);
      this.#running -= 1;
      this.#next();
    };
    const timer = this.#patienceMs === undefined ? undefined : setTimeout(release, this.#patienceMs);
    return release;
  }
}
