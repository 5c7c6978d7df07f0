import type { IncomingMessage } from 'node:http';
import { clientIp, countedAddress, toldOnce } from '../../common/client-ip.ts';
import type { Config } from '../../common/config.ts';
import type { Logger } from '../../common/logger.ts';
import { delay } from '../../common/patience.ts';
import { Refusal } from './refusal.ts';

/** A connection that would wait longer than this for its turn is told when to come again, milliseconds. */
const LONGEST_TURN_MS = 2000;
/** After a quiet time this much of a second's connections may come at once. */
const BURST_MS = 1000;
/** Hints are spread over this time, so that those who were refused together do not return together. */
const SPREAD_MS = 2000;
const FULL_RETRY_MS = 10_000;

type Settings = Pick<
  Config,
  | 'TRUSTED_PROXIES'
  | 'RATE_LIMIT_IP_PER_MINUTE'
  | 'REALTIME_MAX_CONNECTIONS'
  | 'REALTIME_MAX_CONNECTIONS_PER_IP'
  | 'REALTIME_CONNECTS_PER_SECOND'
>;

const withSlack = (limit: number): number => Math.ceil(limit * 1.1) + 2;
const isOwnMachine = (ip: string): boolean => ip === '::1' || ip.startsWith('127.');
const spread = (ms: number): number => Math.ceil(ms + Math.random() * SPREAD_MS);

/** How many connections this instance keeps open, in all and for one address, and how fast it lets them in. */
export class ConnectionLimits {
  readonly #settings: Settings;
  readonly #onUnusable: ((value: string) => void) | undefined;
  readonly #byAddress = new Map<string, number>();
  #total = 0;
  #nextTurn = 0;

  constructor(settings: Settings, log?: Logger) {
    this.#settings = settings;
    this.#onUnusable = log && toldOnce(log);
  }

  get total(): number {
    return this.#total;
  }

  /**
   * Whether a connection of this address is not even taken. A little beyond the limits connections are taken, so that clients are
   * told why they are refused.
   */
  overrun(address: string): boolean {
    if (this.#total > withSlack(this.#settings.REALTIME_MAX_CONNECTIONS)) return true;
    const most = this.#limitOf(address);
    return most > 0 && (this.#byAddress.get(address) ?? 0) > withSlack(most);
  }

  /** How many connections an address may have, 0 for any number. */
  #limitOf(address: string): number {
    const { REALTIME_MAX_CONNECTIONS_PER_IP: most, RATE_LIMIT_IP_PER_MINUTE: perMinute } = this.#settings;
    return perMinute > 0 && !isOwnMachine(address) ? most : 0;
  }

  /** The address under which a request's connection is counted. */
  addressOf(request: IncomingMessage): string {
    const forwarded = request.headers['x-forwarded-for'];
    const header = Array.isArray(forwarded) ? forwarded.join(',') : forwarded;
    const ip = clientIp(
      request.socket.remoteAddress,
      header,
      this.#settings.TRUSTED_PROXIES,
      this.#onUnusable,
    );
    return isOwnMachine(ip) ? ip : countedAddress(ip);
  }

  /** Counts a connection, whether or not it may stay. @returns what counts it out, once */
  enter(address: string): () => void {
    this.#total += 1;
    this.#byAddress.set(address, (this.#byAddress.get(address) ?? 0) + 1);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#total -= 1;
      const others = (this.#byAddress.get(address) ?? 1) - 1;
      if (others > 0) this.#byAddress.set(address, others);
      else this.#byAddress.delete(address);
    };
  }

  /** Whether a connection that was counted may stay; waits for its turn. @throws Refusal RATE_LIMITED with a hint */
  async admit(address: string): Promise<void> {
    if (this.#total > this.#settings.REALTIME_MAX_CONNECTIONS) {
      throw new Refusal('RATE_LIMITED', 'This instance has as many connections as it may have.', {
        retryAfterMs: spread(FULL_RETRY_MS),
      });
    }
    const perIp = this.#limitOf(address);
    if (perIp > 0 && (this.#byAddress.get(address) ?? 0) > perIp) {
      throw new Refusal('RATE_LIMITED', 'Your address has as many connections as it may have.', {
        retryAfterMs: spread(FULL_RETRY_MS),
      });
    }
    await this.#turn();
  }

  async #turn(): Promise<void> {
    const perSecond = this.#settings.REALTIME_CONNECTS_PER_SECOND;
    if (perSecond === 0) return;
    const now = Date.now();
    const turn = Math.max(this.#nextTurn, now - BURST_MS);
    if (turn - now > LONGEST_TURN_MS) {
      throw new Refusal('RATE_LIMITED', 'Many clients connect just now. Try again in a moment.', {
        retryAfterMs: spread(turn - now),
      });
    }
    this.#nextTurn = turn + 1000 / perSecond;
    if (turn > now) await delay(turn - now);
  }
}
