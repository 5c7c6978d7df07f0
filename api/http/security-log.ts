import type { Logger } from '../../common/logger.ts';
import type { Metrics } from '../../common/metrics.ts';
import { countedAddress } from '../../common/client-ip.ts';
import { LineSampler } from './line-sampler.ts';
import type { Problem, ProblemCode } from './problem.ts';

/** Refusals that tell of an attack, or of a client that is broken like one. Other refusals are everyday matters. */
const eventOf: Partial<Record<ProblemCode, string>> = {
  BAD_CREDENTIALS: 'sign_in_failed',
  REFRESH_TOKEN_REUSED: 'refresh_token_reused',
  USER_BANNED: 'banned_user_refused',
  FORBIDDEN: 'forbidden',
  ACTION_TOKEN_MALFORMED: 'action_token_malformed',
  ACTION_TOKEN_INVALID: 'action_token_forged',
  ACTION_TOKEN_NOT_YOURS: 'action_token_foreign',
  SIGNATURE_INVALID: 'signature_forged',
  TIMESTAMP_OUT_OF_RANGE: 'timestamp_out_of_range',
  ACTION_ALREADY_COMPLETED: 'replay',
  ACTION_IN_PROGRESS: 'replay',
  ACTION_ID_TAKEN: 'action_id_taken',
  RATE_LIMITED: 'limit_breached',
  TOO_MANY_OPEN_ACTIONS: 'limit_breached',
};

/** Who did it and where. Ids and addresses only: no names, no e-mail addresses, no tokens, no bodies. */
export interface SecurityContext {
  readonly ip: string;
  readonly userId?: string | undefined;
  readonly requestId?: string | undefined;
  readonly method: string;
  /** the route's pattern, since a path may hold anything */
  readonly route: string;
  readonly [detail: string]: string | number | undefined;
}

/** What administrators do is told line by line. */
const neverSampled = new Set(['admin_action', 'admin_signed_in']);

/**
 * What an operator watches for attacks: one counter by event, and one structured line each; of a flood the first lines of each
 * event and address, and a line that says how many more there were.
 */
export function createSecurityLog(log: Logger, metrics: Metrics) {
  const channel = log.child({ channel: 'security' });
  const counter = metrics.counter(
    'laurel_security_events_total',
    'Failed sign-ins, forged and foreign tokens, replays, limit breaches, administrators’ actions.',
    ['event'] as const,
  );
  // Known from the start, so that a rate can be taken of the first one.
  for (const event of new Set(Object.values(eventOf))) counter.inc({ event }, 0);

  const sampler = new LineSampler(({ event, address: ip, left }) =>
    channel.warn(
      { event, ...(ip !== undefined && { ip }), leftOut: left },
      'security events left out of the log',
    ),
  );

  const record = (event: string, context: SecurityContext): void => {
    counter.inc({ event });
    if (!neverSampled.has(event) && !sampler.allows(event, countedAddress(context.ip))) return;
    channel.warn({ event, ...context }, 'security event');
  };
  return {
    record,
    /** Takes note of a refusal, if it is of interest. */
    refused(problem: Problem, context: SecurityContext): void {
      const { event = eventOf[problem.code], userId, reason } = problem.options.security ?? {};
      if (event === undefined) return;
      record(event, {
        ...context,
        code: problem.code,
        ...(userId !== undefined && { userId }),
        ...(reason !== undefined && { reason }),
      });
    },
    /** Tells of what was left out so far. */
    stop: (): void => sampler.stop(),
  };
}

export type SecurityLog = ReturnType<typeof createSecurityLog>;
