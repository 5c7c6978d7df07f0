import type { Logger } from './logger.ts';

/** One named step of an orderly shutdown. */
export interface ShutdownStep {
  readonly name: string;
  readonly run: () => Promise<unknown>;
}

/** Ends what was built, newest first, as a stack of named steps. A failing step is logged and does not stop the rest. */
export class Shutdown {
  readonly #steps: ShutdownStep[] = [];
  readonly #log: Logger;
  #running: Promise<void> | undefined;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Adds a step that runs before all those added earlier. */
  defer(name: string, run: () => Promise<unknown>): void {
    this.#steps.push({ name, run });
  }

  /** Runs every step once; later calls wait for the first. */
  run(): Promise<void> {
    this.#running ??= this.#runAll();
    return this.#running;
  }

  async #runAll(): Promise<void> {
    for (const step of this.#steps.toReversed()) {
      try {
        await step.run();
      } catch (error) {
        this.#log.warn({ err: error, step: step.name }, 'a shutdown step failed');
      }
    }
  }
}

/** A second signal this long after the first is a person who insists; sooner, it is the same Ctrl-C passed on by npm. */
const INSIST_AFTER_MS = 1000;

/**
 * Shuts down in order on SIGTERM, SIGINT or SIGHUP, and at once when the deadline passes or the signal is repeated.
 *
 * @param deadlineMs how long the orderly way may take, milliseconds
 */
export function shutDownOnSignal(shutdown: Shutdown, log: Logger, deadlineMs: number): void {
  let first = 0;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (first > 0) {
      if (Date.now() - first > INSIST_AFTER_MS) process.exit(130);
      return;
    }
    first = Date.now();
    log.info({ signal }, 'shutting down');
    setTimeout(() => {
      log.error({ deadlineMs }, 'orderly shutdown took too long');
      process.exit(1);
    }, deadlineMs).unref();
    void shutdown.run().then(() => process.exit(0));
  };
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, onSignal);
}
