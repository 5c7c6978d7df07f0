import { createHash } from 'node:crypto';
import { countedAddress } from '../../common/client-ip.ts';
import { loadScript, scriptCaller, type Redis } from '../../common/redis.ts';
import { Problem, unavailable } from '../http/problem.ts';
import type { AdmissionControl, Ask } from './admission.ts';

const script = loadScript(new URL('lua/login_addresses.lua', import.meta.url));

/** Unknown addresses that may try one name in a minute. */
const ADDRESSES_A_NAME = 10;
/** How long an address is known for a name after a right password, seconds. */
const KNOWN_S = 30 * 86_400;

/** No name and no address stands in Redis as such. */
const digest = (...parts: string[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('base64url').slice(0, 22);

/** An attempt to sign in that may be made. */
export interface Attempt {
  /** Takes it back off the count of failures, and knows the address from now on. */
  succeeded(): Promise<void>;
}

/**
 * Limits of sign-ins. Failures count by name and address together, and by address: a guesser cannot keep the owner of a name
 * out who is elsewhere. Many addresses that try one name are limited too, except those that the name has signed in from.
 */
export class LoginLimits {
  readonly #redis: Redis;
  readonly #call: ReturnType<typeof scriptCaller>;
  readonly #admission: AdmissionControl;

  constructor(redis: Redis, admission: AdmissionControl) {
    this.#redis = redis;
    this.#call = scriptCaller(redis, [script]);
    this.#admission = admission;
  }

  /** @param name in the form in which names are compared @throws RATE_LIMITED or UNAVAILABLE */
  async admit(name: string, ip: string): Promise<Attempt> {
    const address = countedAddress(ip);
    const pair = digest(name, address);
    const ask: Ask = { kind: 'login', ip, loginName: pair };
    const admitted = await this.#admission.admit(ask);
    const own = this.#redis.names.limits(`login/${digest(name)}`);
    const [addresses, known] = [`${own}:addresses`, `${own}:known:${pair}`];
    const forget = async (): Promise<void> => {
      if (admitted.admitted) await this.#admission.forgetLogin(ask, admitted.at);
    };
    let waitMs: number;
    try {
      waitMs = Number(await this.#call.call(script, 2, addresses, known, pair, ADDRESSES_A_NAME));
    } catch (error) {
      throw unavailable('The service cannot check its limits right now.', error);
    }
    if (waitMs > 0) {
      await forget().catch(() => undefined);
      const retryAfter = Math.max(1, Math.ceil(waitMs / 1000));
      throw new Problem(
        'RATE_LIMITED',
        `This name is being tried from many addresses. Try again in ${retryAfter} s, or from where you signed in before.`,
        { retryAfter, security: { reason: 'limited: login-addresses' } },
      );
    }
    return {
      succeeded: async () => {
        await Promise.all([
          forget(),
          this.#redis.zrem(addresses, pair),
          this.#redis.set(known, '1', 'EX', KNOWN_S),
        ]).catch(() => undefined);
      },
    };
  }
}
