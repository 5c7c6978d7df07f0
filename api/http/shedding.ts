import type { IncomingMessage } from 'node:http';
import type Koa from 'koa';
import type { Config } from '../../common/config.ts';
import type { Logger } from '../../common/logger.ts';
import type { Metrics } from '../../common/metrics.ts';
import { Problem } from './problem.ts';
import type { Route, Sacrifice } from './route.ts';

/** What tells how much this process and the workers have to do. */
export interface Signals {
  /** how late the event loop is, milliseconds */
  readonly loopDelayMs: () => number;
  /** requests under way that only wait for a worker, and cost this process next to nothing meanwhile */
  readonly waiting: () => number;
  /** how long completions wait in line for a worker, milliseconds */
  readonly backlogMs: () => number;
}

type Range = readonly [from: number, to: number];

/**
 * What is given up when. A signal's load is its share of its threshold: below the first figure nothing of a kind is refused,
 * from the second on all of it, and in between a share that grows, so that the system settles where it can do the rest.
 *
 * Starts are refused so that completions need not be: a player who has earned points must get through. The queues do not
 * care about reads, and completions of started actions are limited by the starts; signed ones only by the queues. All that were
 * let in may come back for their completions at once, beside as many that start: hence the distance.
 */
const order: Record<Sacrifice, { readonly process: Range; readonly backlog?: Range }> = {
  anonymous_read: { process: [1, 1.5] },
  other: { process: [1.5, 2] },
  start: { process: [1.5, 2], backlog: [1, 2] },
  signed_completion: { process: [6, 8], backlog: [2, 4] },
  completion: { process: [6, 8] },
};

/**
 * More requests than the threshold are a burst, or a store that paused for a moment, until that has lasted for so long; and it
 * is over only when they have been fewer for as long.
 */
const LASTING_MS = 1500;
/** So many times the threshold are too many at once. */
const FLOOD = 5;

/** In 1 to 5 s a refused client should come again: spread, so that not all come together; made once, to cost next to nothing. */
const refusals = [1, 2, 3, 4, 5].map(
  (retryAfter) =>
    new Problem(
      'UNAVAILABLE',
      'The service is busy. Nothing is lost: send the same request again in a moment.',
      { retryAfter, quiet: true },
    ),
);
/** While requests are shed, the log says so this often, and not at each of them. */
const REPORT_MS = 10_000;

/** How far a value has come between two others, 0 to 1. */
const progress = (value: number, [from, to]: Range): number =>
  Math.min(1, Math.max(0, (value - from) / (to - from)));

/**
 * Refuses work that would come too late, before it costs anything, so that the rest is done in time: more requests than a
 * process can serve would otherwise all wait longer and longer.
 */
export class LoadShedder {
  readonly #thresholds: Pick<Config, 'SHED_REQUESTS' | 'SHED_LOOP_DELAY_MS' | 'SHED_BACKLOG_MS'>;
  readonly #signals: Signals;
  readonly #log: Logger;
  readonly #counter;
  readonly #random: () => number;
  readonly #now: () => number;
  /** requests that were judged before the application had them */
  readonly #letIn = new WeakSet<IncomingMessage>();
  #underWay = 0;
  #isCrowded = false;
  /** since when the requests under way have spoken against that, by the clock */
  #turnedAt: number | undefined;
  #sinceReport = 0;
  #reports: NodeJS.Timeout | undefined;

  constructor(deps: {
    config: Pick<Config, 'SHED_REQUESTS' | 'SHED_LOOP_DELAY_MS' | 'SHED_BACKLOG_MS'>;
    signals: Signals;
    log: Logger;
    metrics: Metrics;
    /** evenly spread over 0 to 1 */
    random?: () => number;
    /** a clock that only goes forward, ms */
    now?: () => number;
  }) {
    this.#thresholds = deps.config;
    this.#signals = deps.signals;
    this.#log = deps.log;
    this.#random = deps.random ?? Math.random;
    this.#now = deps.now ?? (() => performance.now());
    this.#counter = deps.metrics.counter(
      'laurel_shed_requests_total',
      'Requests refused because of overload, by class.',
      ['class'] as const,
    );
    // Known from the start, so that a rate can be taken of the first one.
    for (const sacrifice of Object.keys(order)) this.#counter.inc({ class: sacrifice as Sacrifice }, 0);
    deps.metrics.gauge(
      'laurel_load_ratio',
      'Load as a share of the threshold from which on requests are shed, by signal.',
      ['signal'] as const,
      (gauge) => Object.entries(this.#loads()).forEach(([signal, load]) => gauge.set({ signal }, load)),
    );
  }

  /** A route's work, which this process refuses while it is overloaded. Operators always get through. */
  guard(route: Route, work: Koa.Middleware): Koa.Middleware {
    if (route.access === 'admin') return work;
    const mayBeCached = route.access === 'reader' && route.method === 'get';
    return async (ctx, next) => {
      const isAnonymousRead = mayBeCached && ctx.get('authorization') === '';
      const sacrifice = isAnonymousRead ? 'anonymous_read' : (route.sacrifice ?? 'other');
      const refusal = this.#letIn.has(ctx.req) ? undefined : this.refusal(sacrifice);
      if (refusal) {
        ctx.state['shedAs'] = sacrifice;
        throw refusal;
      }
      this.#underWay += 1;
      try {
        await work(ctx, next);
      } finally {
        this.#underWay -= 1;
        this.#weigh(this.#loads().requests);
      }
    };
  }

  /** Judges a request before the application has it; one that is let in is not judged again. @returns its refusal */
  judge(request: IncomingMessage, sacrifice: Sacrifice): Problem | undefined {
    const refusal = this.refusal(sacrifice);
    if (!refusal) this.#letIn.add(request);
    return refusal;
  }

  /** @returns what a request of this class is refused with, when it is one too many */
  refusal(sacrifice: Sacrifice): Problem | undefined {
    const share = this.#shareOf(sacrifice);
    if (share === 0 || this.#random() >= share) return undefined;
    this.#counter.inc({ class: sacrifice });
    this.#report();
    return refusals[Math.floor(this.#random() * refusals.length)];
  }

  /** Whether some requests of a class are being refused now. */
  isShedding(sacrifice: Sacrifice): boolean {
    return this.#shareOf(sacrifice) > 0;
  }

  close(): void {
    clearInterval(this.#reports);
  }

  /** The share of a class that is refused now, 0 to 1. */
  #shareOf(sacrifice: Sacrifice): number {
    const { requests, loop_delay, backlog } = this.#loads();
    this.#weigh(requests);
    const ranges = order[sacrifice];
    const process = this.#isCrowded ? Math.max(requests, loop_delay) : loop_delay;
    return Math.max(
      progress(process, ranges.process),
      ranges.backlog ? progress(backlog, ranges.backlog) : 0,
    );
  }

  /** Decides whether requests under way are too many for good. */
  #weigh(requests: number): void {
    if (requests > 1 === this.#isCrowded) {
      this.#turnedAt = undefined;
      return;
    }
    const now = this.#now();
    this.#turnedAt ??= now;
    if (requests < FLOOD && now - this.#turnedAt < LASTING_MS) return;
    this.#isCrowded = !this.#isCrowded;
    this.#turnedAt = undefined;
  }

  #loads(): { requests: number; loop_delay: number; backlog: number } {
    const { SHED_REQUESTS, SHED_LOOP_DELAY_MS, SHED_BACKLOG_MS } = this.#thresholds;
    const { loopDelayMs, waiting, backlogMs } = this.#signals;
    const share = (value: number, threshold: number): number =>
      threshold === 0 ? 0 : Math.max(0, value) / threshold;
    return {
      requests: share(this.#underWay - waiting(), SHED_REQUESTS),
      loop_delay: share(loopDelayMs(), SHED_LOOP_DELAY_MS),
      backlog: share(backlogMs(), SHED_BACKLOG_MS),
    };
  }

  /** One line when it begins, one in ten seconds while it lasts, and one when it is over. */
  #report(): void {
    this.#sinceReport += 1;
    if (this.#reports) return;
    this.#log.warn(this.#loads(), 'overloaded: requests are being shed');
    this.#sinceReport = 0;
    this.#reports = setInterval(() => {
      const shed = this.#sinceReport;
      this.#sinceReport = 0;
      if (shed > 0) return this.#log.warn({ shed, ...this.#loads() }, 'still overloaded');
      this.#log.info('no longer overloaded');
      clearInterval(this.#reports);
      this.#reports = undefined;
    }, REPORT_MS).unref();
  }
}
