/** The wait was called off before the work succeeded. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/** Resolves after a time, milliseconds. @throws {@link Interrupted} as soon as the signal says so */
export function delay(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(new Interrupted());
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(new Interrupted());
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

const FIRST_WAIT_MS = 25;
const LONGEST_WAIT_MS = 1000;

/**
 * Does a thing until it succeeds, waiting a little longer after each failure that passes by itself.
 *
 * @param isPassing whether an error is worth another try; any other is thrown
 * @throws {@link Interrupted} when the signal ends the waiting
 */
export async function untilDone<T>(
  work: () => Promise<T>,
  isPassing: (error: unknown) => boolean,
  signal: AbortSignal,
  onWait?: (error: unknown) => void,
): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (!isPassing(error)) throw error;
      if (attempt === 0) onWait?.(error);
      await delay(Math.min(FIRST_WAIT_MS * 2 ** attempt, LONGEST_WAIT_MS), signal);
    }
  }
}
