import { createPublicKey, type KeyObject } from 'node:crypto';
import jwksRsa, { type JwksClient } from 'jwks-rsa';

/** The identity service could not be asked for its keys, and the one that is needed is not known. */
export class KeySetAway extends Error {
  override readonly name = 'KeySetAway';
}

export interface KeySetTimes {
  /** how long keys are taken as current before they are read again, milliseconds */
  readonly freshMs: number;
  /** how long they are used on while the identity service does not answer, milliseconds */
  readonly keptMs: number;
  /** least time between attempts while it does not answer, milliseconds */
  readonly retryMs: number;
}

const usual: KeySetTimes = { freshMs: 600_000, keptMs: 86_400_000, retryMs: 1000 };
const TIMEOUT_MS = 3000;
/** How often a minute an unknown key id may make us ask: a flood of made-up ids must not become one at the service. */
const UNKNOWN_IDS_A_MINUTE = 10;
const MOST_KEYS = 100;

/**
 * The public keys of an outside identity service (JWKS). The whole set is kept: looking up a known key never waits for
 * the network while the set is fresh, nor fails while the service is away, whatever ids strangers make up meanwhile.
 */
export class KeySet {
  readonly #client: JwksClient;
  readonly #times: KeySetTimes;
  #keys = new Map<string | undefined, KeyObject>();
  #readAt = -Infinity;
  #triedAt = -Infinity;
  #reading: Promise<void> | undefined;
  #askedForUnknown: number[] = [];

  constructor(url: string, times: Partial<KeySetTimes> = {}) {
    this.#client = jwksRsa({ jwksUri: url, cache: false, rateLimit: false, timeout: TIMEOUT_MS });
    this.#times = { ...usual, ...times };
  }

  /**
   * @param id the key id that a token names; without one, the set's only key
   * @returns undefined when the service has no such key @throws {@link KeySetAway}
   */
  async find(id: string | undefined): Promise<KeyObject | undefined> {
    const { freshMs, keptMs, retryMs } = this.#times;
    const age = Date.now() - this.#readAt;
    const mayTry = this.#reading !== undefined || Date.now() - this.#triedAt >= retryMs;
    const known = age < keptMs ? this.#pick(id) : undefined;
    if (known) {
      // Nobody waits for this: a service that hangs must not hold up those whose key is known.
      if (age >= freshMs && mayTry) void this.#read().catch(() => undefined);
      return known;
    }
    if (age >= keptMs) {
      if (!mayTry) throw new KeySetAway('the keys of the identity service cannot be read');
    } else if (!this.#mayAskFor()) return undefined;
    await this.#read();
    return this.#pick(id);
  }

  #pick(id: string | undefined): KeyObject | undefined {
    if (id !== undefined) return this.#keys.get(id);
    const [only] = this.#keys.values();
    return this.#keys.size === 1 ? only : undefined;
  }

  #mayAskFor(): boolean {
    const now = Date.now();
    this.#askedForUnknown = this.#askedForUnknown.filter((at) => at > now - 60_000);
    if (this.#askedForUnknown.length >= UNKNOWN_IDS_A_MINUTE) return false;
    this.#askedForUnknown.push(now);
    return true;
  }

  /** Reads the set; those who ask meanwhile wait for the same answer. */
  #read(): Promise<void> {
    return (this.#reading ??= this.#fetch().finally(() => (this.#reading = undefined)));
  }

  async #fetch(): Promise<void> {
    this.#triedAt = Date.now();
    try {
      const keys = await this.#client.getSigningKeys();
      this.#keys = new Map(
        keys.slice(0, MOST_KEYS).map((key) => [key.kid, createPublicKey(key.getPublicKey())]),
      );
      this.#readAt = Date.now();
    } catch (cause) {
      throw new KeySetAway('the keys of the identity service cannot be read', { cause });
    }
  }
}
