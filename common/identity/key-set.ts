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
/** How many keys are tried on a token that names none. */
const MOST_TRIED = 10;

/** Which keys an algorithm can be of: their type and, of elliptic curves, which. */
const keysOf: Readonly<Record<string, readonly [type: string, curve?: string]>> = {
  RS256: ['rsa'],
  RS384: ['rsa'],
  RS512: ['rsa'],
  PS256: ['rsa'],
  PS384: ['rsa'],
  PS512: ['rsa'],
  ES256: ['ec', 'prime256v1'],
  ES384: ['ec', 'secp384r1'],
  ES512: ['ec', 'secp521r1'],
  EdDSA: ['ed25519'],
};

/** The algorithms of tokens that a key set verifies. */
export const publicKeyAlgorithms: ReadonlySet<string> = new Set(Object.keys(keysOf));

interface NamedKey {
  readonly id: string | undefined;
  readonly key: KeyObject;
}

/**
 * The public keys of an outside identity service (JWKS). The whole set is kept: looking up a known key never waits for
 * the network while the set is fresh, nor fails while the service is away, whatever ids strangers make up meanwhile.
 */
export class KeySet {
  readonly #url: string;
  readonly #client: JwksClient;
  readonly #times: KeySetTimes;
  #keys: readonly NamedKey[] = [];
  #readAt = -Infinity;
  #triedAt = -Infinity;
  #reading: Promise<void> | undefined;
  #askedForUnknown: number[] = [];
  #fault: string | undefined;

  constructor(url: string, times: Partial<KeySetTimes> = {}) {
    this.#url = url;
    this.#client = jwksRsa({ jwksUri: url, cache: false, rateLimit: false, timeout: TIMEOUT_MS });
    this.#times = { ...usual, ...times };
  }

  /**
   * @param id the key id that a token names; without one, every key of the algorithm may have signed it
   * @returns no more than a few; none when the service has no such key @throws {@link KeySetAway}
   */
  async find(id: string | undefined, algorithm: string): Promise<KeyObject[]> {
    const { freshMs, keptMs, retryMs } = this.#times;
    const age = Date.now() - this.#readAt;
    const mayTry = this.#reading !== undefined || Date.now() - this.#triedAt >= retryMs;
    const known = age < keptMs ? this.#pick(id, algorithm) : [];
    if (known.length > 0) {
      // Nobody waits for this: a service that hangs must not hold up those whose key is known.
      if (age >= freshMs && mayTry) void this.#read().catch(() => undefined);
      return known;
    }
    if (age >= keptMs) {
      if (!mayTry) throw new KeySetAway(this.#fault);
    } else if (!this.#mayAskFor()) return [];
    await this.#read();
    return this.#pick(id, algorithm);
  }

  /** Why the last attempt to read the keys failed, for an operator; undefined when it did not. */
  get fault(): string | undefined {
    return this.#fault;
  }

  #pick(id: string | undefined, algorithm: string): KeyObject[] {
    const [type, curve] = keysOf[algorithm] ?? [];
    return this.#keys
      .filter(({ id: own, key }) => {
        const named = id === undefined || own === undefined || own === id;
        return (
          named &&
          key.asymmetricKeyType === type &&
          (curve ?? key.asymmetricKeyDetails?.namedCurve) === key.asymmetricKeyDetails?.namedCurve
        );
      })
      .slice(0, MOST_TRIED)
      .map(({ key }) => key);
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
      this.#keys = keys
        .slice(0, MOST_KEYS)
        .map((key) => ({ id: key.kid, key: createPublicKey(key.getPublicKey()) }));
      this.#readAt = Date.now();
      this.#fault = undefined;
    } catch (cause) {
      this.#fault = `the keys at JWT_JWKS_URL (${this.#url}) cannot be read: ${cause instanceof Error ? cause.message : 'unknown'}`;
      throw new KeySetAway(this.#fault, { cause });
    }
  }
}
