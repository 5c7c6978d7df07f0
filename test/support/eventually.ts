import { setTimeout as delay } from 'node:timers/promises';

/**
 * Repeats `fn`, which asserts something that becomes true soon, until it passes.
 *
 * @returns what `fn` returned
 * @throws the last failure, if it still fails after `timeoutMs`
 */
export async function eventually<T>(
  fn: () => T | Promise<T>,
  { timeoutMs = 5_000, everyMs = 20 }: { timeoutMs?: number; everyMs?: number } = {},
): Promise<T> {
  for (const end = Date.now() + timeoutMs; ; await delay(everyMs)) {
    try {
      return await fn();
    } catch (error) {
      if (Date.now() >= end) throw error;
    }
  }
}
