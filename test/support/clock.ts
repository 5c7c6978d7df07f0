import { before } from 'mocha';

/** The hand of a clock that everything in this process goes by. */
export interface Clock {
  /** Sets the time, milliseconds since the epoch; from there it goes on by itself. */
  set(instant: number): void;
}

/**
 * Gives the calling `describe` a clock of its own, for tests of what happens at midnight. Call it before `useSystem()`, so
 * that all tiers know one time only. Timers go on as they were set; the stores keep their own time, and must not be made
 * to matter.
 */
export function useClock(): Clock {
  // Not the class: mocha keeps time by what it was when mocha was loaded.
  const { now } = Date;
  before('remember the time', function () {
    // Registered only now, it runs after all the `after` hooks of the file.
    this.test?.parent?.afterAll('put the clock right', () => {
      Date.now = now;
    });
  });
  return {
    set(instant) {
      const ahead = instant - now();
      Date.now = () => now() + ahead;
    },
  };
}
