import { PENDING } from '../../common/actions.ts';
import type { Config } from '../../common/config.ts';
import { loadScript, redisBreaker, scriptCaller, type Redis } from '../../common/redis.ts';
import { countedAddress, countedNetwork } from '../../common/client-ip.ts';
import { Problem, unavailable } from '../http/problem.ts';

const admit = loadScript(new URL('lua/admit.lua', import.meta.url));

/** What a request is, to the limits. */
type Kind = 'start' | 'complete' | 'signed' | 'read' | 'write' | 'cancel' | 'login' | 'register';

/** Somebody whose requests are counted together. */
interface Subject {
  readonly key: string;
  /** where refusals and the block that follows too many of them are kept; limits may share it */
  readonly blockKey: string;
  /** refusals a minute that block; 0 = never */
  readonly blockAfter: number;
  /** a minute; 0 = none */
  readonly limit: number;
  readonly name: string;
  /** counts failures: what turned out to be none is taken off again */
  readonly failures?: true;
}

/** What an action depends on that has to do with time: judged by Redis's clock, as acceptance is. Times are ms since the epoch. */
export interface Terms {
  readonly leaderboard: string;
  readonly opensAt: number | null;
  readonly closesAt: number | null;
  /** complete: when its token expires */
  readonly expiresAt?: number;
  /** complete: when the minimum duration is over */
  readonly earliest?: number;
  /** signed: least time between two of a type, and when Postgres saw the last one */
  readonly spacing?: { readonly type: string; readonly ms: number; readonly lastAt: number };
}

export interface Ask {
  readonly kind: Kind;
  readonly ip: string;
  readonly userId?: string;
  readonly actionId?: string;
  readonly terms?: Terms;
  /** start: how long the action stays open; complete: how long it counts as under way, milliseconds */
  readonly holdMs?: number;
  /** login: what stands for the name and the address together */
  readonly loginName?: string;
}

/** Let in, with the headers that tell the caller what is left; or known already, with what is known of the action. */
export type Admission =
  | { readonly admitted: true; readonly at: number; readonly headers: Record<string, string> }
  | { readonly admitted: false; readonly known: string };

type Settings = Pick<
  Config,
  | 'RATE_LIMIT_COMPLETE_PER_MINUTE'
  | 'RATE_LIMIT_START_PER_MINUTE'
  | 'RATE_LIMIT_READ_PER_MINUTE'
  | 'RATE_LIMIT_CANCEL_PER_MINUTE'
  | 'RATE_LIMIT_IP_PER_MINUTE'
  | 'RATE_LIMIT_GLOBAL_PER_SECOND'
  | 'RATE_LIMIT_BLOCK_AFTER'
  | 'MAX_OPEN_ACTIONS'
>;

/** A refusal is an answer, and no sign that Redis is away. */
const keepRefusals = (error: unknown): Problem => {
  if (error instanceof Problem && error.status === 429) return error;
  throw error;
};

export const tokenExpired = (): Problem =>
  new Problem('ACTION_TOKEN_EXPIRED', 'The action token has expired. Start the action again.');
const notOpen = (board: string): Problem =>
  new Problem('UNKNOWN_LEADERBOARD', `The leaderboard ${JSON.stringify(board)} is not open yet.`);
const boardClosed = (board: string): Problem =>
  new Problem(
    'LEADERBOARD_CLOSED',
    `The leaderboard ${JSON.stringify(board)} is closed. Nothing counts on it any more; play on another.`,
  );

/** A minute, of one name from one address. */
const LOGIN_FAILURES = 10;
const LOGIN_ATTEMPTS = 30;
const LOGIN_FAILURES_AN_IP = 30;
/** How many times the limit of one IPv6 client (a /64) a whole /48 may use up: a site has 65,536 of them. */
const NETWORK_MULTIPLE = 16;
/** A user's share of the writes of an address, apart from play. */
const USER_WRITE_SHARE = 5;

/**
 * The door: replays, limits by user and IP, open actions and the global ceiling, in one round trip to Redis, shared by
 * all API processes. A request that is refused uses up nothing.
 */
export class AdmissionControl {
  readonly #redis: Redis;
  readonly #call: ReturnType<typeof scriptCaller>;
  readonly #config: Settings;
  readonly #breaker = redisBreaker();

  constructor(redis: Redis, config: Settings) {
    this.#redis = redis;
    this.#call = scriptCaller(redis, [admit]);
    this.#config = config;
  }

  /**
   * @param now the time instead of Redis's own, ms since the epoch: for tests of the arithmetic
   * @throws RATE_LIMITED, TOO_MANY_OPEN_ACTIONS or UNAVAILABLE, each with when to come back
   */
  async admit(ask: Ask, now?: number): Promise<Admission> {
    const subjects = this.#subjects(ask);
    const userId = ask.userId ?? '';
    const actionId = ask.actionId ?? '';
    const keys = [
      this.#redis.names.action(userId, actionId),
      this.#redis.names.openActions(userId),
      this.#redis.names.globalAdmission,
    ];
    const limits: number[] = [];
    for (const { key, blockKey, limit, blockAfter } of subjects) {
      keys.push(key, `${blockKey}:refusals`, `${blockKey}:until`, `${blockKey}:level`);
      limits.push(limit, blockAfter);
    }
    const { kind, terms } = ask;
    const mode = kind === 'start' || kind === 'complete' || kind === 'signed' ? kind : 'other';
    const spacing = terms?.spacing;
    if (spacing) keys.push(this.#redis.names.lastSigned(userId, spacing.type));
    const globalRate = ask.kind === 'read' ? 0 : this.#config.RATE_LIMIT_GLOBAL_PER_SECOND;
    let reply: (string | number)[];
    try {
      reply = (await this.#call.call(
        admit,
        keys.length,
        ...keys,
        mode,
        actionId,
        this.#config.MAX_OPEN_ACTIONS,
        ask.holdMs ?? 0,
        globalRate,
        now ?? '',
        terms?.expiresAt ?? 0,
        terms?.earliest ?? 0,
        terms?.opensAt ?? 0,
        terms?.closesAt ?? 0,
        spacing?.ms ?? 0,
        spacing?.lastAt ?? 0,
        ...limits,
      )) as (string | number)[];
    } catch (error) {
      throw unavailable('The service cannot check its limits right now.', error);
    }
    return this.#read(reply, subjects, terms);
  }

  /** As `admit`, for reads, which do not fail with Redis: without it nobody is counted. @returns the headers */
  async admitRead(ask: Ask): Promise<Record<string, string>> {
    if (this.#subjects(ask).every(({ limit }) => limit === 0)) return {};
    try {
      const admission = await this.#breaker.execute(() => this.admit(ask).catch(keepRefusals));
      if (admission instanceof Problem) throw admission;
      return admission.admitted ? admission.headers : {};
    } catch (error) {
      if (error instanceof Problem && error.status === 429) throw error;
      return {};
    }
  }

  #read(reply: (string | number)[], subjects: readonly Subject[], terms?: Terms): Admission {
    const [verdict, ...rest] = reply;
    if (verdict === 'known') return { admitted: false, known: String(rest[0]) };
    if (verdict === 'ok')
      return {
        admitted: true,
        at: Number(rest[0]),
        headers: limitHeaders(subjects, rest.slice(1).map(Number)),
      };
    if (verdict === 'expired') throw tokenExpired();
    if (verdict === 'early') throw notOpen(terms?.leaderboard ?? '');
    if (verdict === 'closed') throw boardClosed(terms?.leaderboard ?? '');
    if (verdict === 'fast') {
      throw new Problem('ACTION_TOO_FAST', 'This action takes longer. Complete it when it is done.', {
        retryAfter: Number(rest[0]) / 1000,
      });
    }
    if (verdict === 'open') {
      throw new Problem(
        'TOO_MANY_OPEN_ACTIONS',
        `A user may have ${this.#config.MAX_OPEN_ACTIONS} open actions. Complete or cancel one, or wait until one expires.`,
        { retryAfter: Number(rest[0]) / 1000 },
      );
    }
    if (verdict === 'busy') {
      throw new Problem(
        'UNAVAILABLE',
        'The service is at its ceiling. Send the same request again in a moment.',
        {
          retryAfter: Number(rest[0]) / 1000,
          security: { event: 'ceiling_reached' },
        },
      );
    }
    const subject = subjects[Number(rest[0])];
    const retryAfter = Math.max(1, Math.ceil(Number(rest[1]) / 1000));
    const headers = subject && subject.limit > 0 ? policyHeaders(subject, 0, retryAfter) : {};
    const detail =
      verdict === 'blocked'
        ? `Too many refused requests: blocked for ${retryAfter} s.`
        : `The limit is ${subject?.limit ?? 0} in 60 s. Try again in ${retryAfter} s.`;
    const reason = `${String(verdict)}: ${subject?.name ?? ''}`;
    throw new Problem('RATE_LIMITED', detail, { retryAfter, headers, security: { reason } });
  }

  /** Forgets that a completion is under way, after it could not be enqueued. @param signedType of a client-signed one */
  async release(userId: string, actionId: string, signedType?: string): Promise<void> {
    const key = this.#redis.names.action(userId, actionId);
    if ((await this.#redis.get(key)) === PENDING) await this.#redis.del(key);
    if (signedType === undefined) return;
    await this.closeAction(userId, actionId);
    await this.#redis.del(this.#redis.names.lastSigned(userId, signedType));
  }

  /** An action that ended, or never began, is no longer open. */
  async closeAction(userId: string, actionId: string): Promise<void> {
    await this.#redis.zrem(this.#redis.names.openActions(userId), actionId);
  }

  /** Takes a login back off the count: it was not a failure. */
  async forgetLogin(ask: Ask, at: number): Promise<void> {
    const counted = this.#subjects(ask).filter(({ failures }) => failures);
    await Promise.all(counted.map(({ key }) => this.#redis.lrem(key, 1, String(at))));
  }

  /**
   * Whose limits a request counts against. A user's starts and completions are blocked together, apart from reads: a
   * page that polls too fast must not cost a player the game. An address that many share is blocked for what nobody
   * answers for: requests without a user. Those of its users are limited together, and blocked one by one.
   */
  #subjects({ kind, ip, userId, loginName }: Ask): Subject[] {
    const c = this.#config;
    const blockAfter = c.RATE_LIMIT_BLOCK_AFTER;
    const user = (name: string, limit: number, together: string): Subject => {
      const own = this.#redis.names.limits(userId ?? '');
      return { key: `${own}:limit:${name}`, blockKey: `${own}:block:${together}`, blockAfter, limit, name };
    };
    // No user id has a slash: nobody can share a key with an address or a name.
    /** An address has no block that another limit could share: without a limit nothing of it is asked. */
    const address = (name: string, limit: number, blocks = true): Subject[] => {
      if (limit === 0) return [];
      const of = (counted: string, times: number): Subject => {
        const own = this.#redis.names.limits(`ip/${counted}`);
        const blockKey = `${own}:block:${name}`;
        return {
          key: `${own}:limit:${name}`,
          blockKey: blocks ? blockKey : `${blockKey}:never`,
          blockAfter: blocks && times === 1 ? blockAfter : 0,
          limit: limit * times,
          name: `ip-${name}`,
        };
      };
      const network = countedNetwork(ip);
      return [of(countedAddress(ip), 1), ...(network === undefined ? [] : [of(network, NETWORK_MULTIPLE)])];
    };
    const perIp = c.RATE_LIMIT_IP_PER_MINUTE;
    switch (kind) {
      case 'start':
        return [user('start', c.RATE_LIMIT_START_PER_MINUTE, 'play'), ...address('write', perIp, false)];
      case 'complete':
      case 'signed':
        return [
          user('complete', c.RATE_LIMIT_COMPLETE_PER_MINUTE, 'play'),
          ...address('write', perIp, false),
        ];
      case 'read':
        return userId === undefined
          ? address('read', perIp)
          : [user('read', c.RATE_LIMIT_READ_PER_MINUTE, 'read')];
      case 'cancel':
        return [user('cancel', c.RATE_LIMIT_CANCEL_PER_MINUTE, 'cancel'), ...address('write', perIp)];
      case 'write':
        return userId === undefined
          ? address('write', perIp)
          : [user('write', Math.ceil(perIp / USER_WRITE_SHARE), 'write'), ...address('write', perIp, false)];
      case 'register':
        return address('write', perIp);
      case 'login': {
        const own = this.#redis.names.limits(`login/${loginName ?? ''}`);
        const once = { blockKey: own, blockAfter: 0 };
        return [
          { ...once, key: `${own}:limit`, limit: LOGIN_FAILURES, name: 'login', failures: true },
          { ...once, key: `${own}:attempts`, limit: LOGIN_ATTEMPTS, name: 'login-attempts' },
          ...address('login', perIp === 0 ? 0 : LOGIN_FAILURES_AN_IP).map((subject) => ({
            ...subject,
            failures: true as const,
          })),
          ...address('write', perIp, false),
        ];
      }
    }
  }
}

/** The header fields of draft-ietf-httpapi-ratelimit-headers, for the limit that is nearest to its end. */
function limitHeaders(subjects: readonly Subject[], figures: readonly number[]): Record<string, string> {
  let nearest: { subject: Subject; remaining: number; resetMs: number } | undefined;
  subjects.forEach((subject, i) => {
    const [remaining, resetMs] = [figures[2 * i] ?? -1, figures[2 * i + 1] ?? 0];
    if (remaining >= 0 && (!nearest || remaining < nearest.remaining))
      nearest = { subject, remaining, resetMs };
  });
  return nearest ? policyHeaders(nearest.subject, nearest.remaining, Math.ceil(nearest.resetMs / 1000)) : {};
}

const policyHeaders = (
  subject: Subject,
  remaining: number,
  resetSeconds: number,
): Record<string, string> => ({
  RateLimit: `"${subject.name}";r=${remaining};t=${resetSeconds}`,
  'RateLimit-Policy': `"${subject.name}";q=${subject.limit};w=60`,
});
