/** One frame on its way to some of those who watch a board: each step gives it to one more. */
export type Delivery = Iterator<void>;

interface Job {
  readonly deliveries: Delivery[];
  readonly done: () => void;
}

/** How long giving may hold the event loop in one turn, milliseconds. */
const TURN_MS = 10;
/** How many are given to between two looks at the clock. */
const AT_ONCE = 32;

/**
 * Gives frames to large rooms a part at a time. Ten thousand sockets take a tenth of a second, and in between this process
 * must go on hearing others. All frames under way move on in turn, so that a small room does not wait for a large one.
 */
export class FanOut {
  readonly #jobs: Job[] = [];
  #turn: NodeJS.Immediate | undefined;

  /** Resolves when all of it is delivered. */
  send(deliveries: readonly Delivery[]): Promise<void> {
    return new Promise((done) => {
      this.#jobs.push({ deliveries: [...deliveries], done });
      this.#turn ??= setImmediate(() => this.#move());
    });
  }

  close(): void {
    clearImmediate(this.#turn);
  }

  #move(): void {
    const end = performance.now() + TURN_MS;
    while (performance.now() < end) {
      const job = this.#jobs.shift();
      if (!job) break;
      give(job.deliveries);
      if (job.deliveries.length > 0) this.#jobs.push(job);
      else job.done();
    }
    this.#turn = this.#jobs.length > 0 ? setImmediate(() => this.#move()) : undefined;
  }
}

/** Gives to the next few, and takes out the deliveries that have ended. */
function give(deliveries: Delivery[]): void {
  for (let n = 0; n < AT_ONCE; n += 1) {
    const [first] = deliveries;
    if (!first) return;
    if (first.next().done) deliveries.shift();
  }
}
