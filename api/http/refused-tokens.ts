import { LRUCache } from 'lru-cache';
import { countedAddress } from '../../common/client-ip.ts';
import { Problem } from './problem.ts';

const WINDOW_MS = 60_000;
const ADDRESSES = 20_000;

/**
 * Counts refused access tokens by address, in this process. Past the limit they are answered 429; genuine tokens from the same
 * address are not touched, since one sender behind a shared address must not end play for the others.
 */
export class RefusedTokens {
  readonly #limit: number;
  readonly #counts = new LRUCache<string, { count: number; readonly until: number }>({ max: ADDRESSES });

  /** @param limit a minute and address; 0 = none */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Takes note of a refusal. @returns what to answer: the refusal itself, or that there were too many */
  answer(refusal: Problem, ip: string): Problem {
    if (this.#limit === 0 || (refusal.status !== 401 && refusal.status !== 403)) return refusal;
    const now = Date.now();
    const address = countedAddress(ip);
    let window = this.#counts.get(address);
    if (!window || window.until <= now) {
      window = { count: 0, until: now + WINDOW_MS };
      this.#counts.set(address, window);
    }
    window.count += 1;
    if (window.count <= this.#limit) return refusal;
    return new Problem(
      'RATE_LIMITED',
      'Too many requests with tokens that are not accepted. Sign in again first.',
      {
        retryAfter: (window.until - now) / 1000,
        security: { reason: 'limited: refused tokens' },
      },
    );
  }
}
