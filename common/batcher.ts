/**
 * Gathers calls that come while earlier ones are under way, and does them together. A lone call is done at once; under
 * load many share one round trip. Batches may overlap up to a limit, and calls of one batch succeed or fail together.
 */
export class Batcher<T, R> {
  readonly #work: (items: T[]) => Promise<readonly R[]>;
  readonly #most: number;
  readonly #atOnce: number;
  #waiting: { item: T; resolve: (result: R) => void; reject: (error: unknown) => void }[] = [];
  #running = 0;

  /**
   * @param work does a batch, and returns one result for each item, in order
   * @param most items a batch
   * @param atOnce batches under way together
   */
  constructor(work: (items: T[]) => Promise<readonly R[]>, most: number, atOnce = Infinity) {
    this.#work = work;
    this.#most = most;
    this.#atOnce = atOnce;
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
      this.#running += 1;
      this.#work(batch.map(({ item }) => item))
        .then(
          (results) => batch.forEach(({ resolve }, i) => resolve(results[i] as R)),
          (error: unknown) => batch.forEach(({ reject }) => reject(error)),
        )
        .finally(() => {
          this.#running -= 1;
          this.#next();
        });
    }
  }
}
