import type { Role } from '../users/user-directory.ts';
import { userIdPattern } from '../ids.ts';
import { isObject } from '../validate.ts';

/** Who a verified access token speaks for. */
export interface Identity {
  /** the user's id; in a token from outside its `sub`, until the user has been looked up */
  readonly userId: string;
  readonly username?: string;
  readonly role: Role;
  /** made by an outside identity service, and not by us */
  readonly outside?: true;
  /** the login that the token belongs to; tokens from outside have none */
  readonly sessionId?: string;
  /** the user's epoch when one of our own tokens was issued; tokens from outside have none */
  readonly epoch?: number;
  /** ms since the epoch */
  readonly issuedAt?: number;
  /** ms since the epoch, leeway included */
  readonly expiresAt: number;
}

/** How far the clocks of those who sign and those who verify may be apart, seconds (RFC 7519, 4.1.4). */
export const LEEWAY_S = 5;

/** Marks our own tokens. `sid`, `role` and the like may stand in anybody's. */
export const OWN_MARK = { laurel: 'access' } as const;

const MAX_SUBJECT = 255;
const MAX_USERNAME = 200;

export interface ClaimSettings {
  readonly roleClaim: string;
  readonly usernameClaim: string;
  /** whether `admin` of an outside token counts */
  readonly trustAdmin: boolean;
  /** how long an outside token is good at most, ms */
  readonly outsideTtlMs: number;
}

/** Why a payload is nobody's identity. */
export interface ClaimFault {
  readonly expired: boolean;
  /** names the claim, and never its value */
  readonly reason: string;
}

const fault = (reason: string, expired = false): ClaimFault => ({ expired, reason });

/** The identity in a payload whose signature, times, issuer and audience have been verified, or why there is none. */
export function readClaims(
  payload: unknown,
  settings: ClaimSettings,
  now = Date.now(),
): Identity | ClaimFault {
  if (!isObject(payload)) return fault('payload: not an object');
  const { sub, exp, iat } = payload;
  if (typeof sub !== 'string' || sub === '') return fault('sub: missing, or not text');
  if ([...sub].length > MAX_SUBJECT) return fault(`sub: longer than ${MAX_SUBJECT} characters`);
  if (typeof exp !== 'number' || !Number.isFinite(exp)) return fault('exp: missing, or not a number');
  const issuedAt = typeof iat === 'number' && Number.isFinite(iat) ? iat * 1000 : undefined;
  const expiresAt = (exp + LEEWAY_S) * 1000;
  const common = { userId: sub, expiresAt, ...(issuedAt !== undefined && { issuedAt }) };
  return payload['laurel'] === OWN_MARK.laurel
    ? readOwn(payload, common)
    : readOutside(payload, common, settings, now);
}

type Common = Pick<Identity, 'userId' | 'expiresAt' | 'issuedAt'>;

function readOwn(
  { username, role, sid, ep }: Record<string, unknown>,
  common: Common,
): Identity | ClaimFault {
  if (!userIdPattern.test(common.userId)) return fault('sub: not an id of ours');
  if (role !== 'player' && role !== 'admin') return fault('role: unknown');
  if (typeof sid !== 'string') return fault('sid: missing');
  if (typeof ep !== 'number' || !Number.isInteger(ep)) return fault('ep: missing');
  return {
    ...common,
    role,
    sessionId: sid,
    epoch: ep,
    ...(typeof username === 'string' && { username }),
  };
}

function readOutside(
  payload: Record<string, unknown>,
  common: Common,
  settings: ClaimSettings,
  now: number,
): Identity | ClaimFault {
  const { roleClaim, usernameClaim, trustAdmin, outsideTtlMs } = settings;
  const leewayMs = LEEWAY_S * 1000;
  if (common.issuedAt === undefined && common.expiresAt > now + outsideTtlMs + leewayMs)
    return fault('exp: too far ahead for a token without iat');
  const ends = Math.min(common.expiresAt, Math.min(common.issuedAt ?? now, now) + outsideTtlMs + leewayMs);
  if (ends <= now) return fault('iat: older than JWT_OUTSIDE_TTL_SECONDS', true);
  const username = claimAt(payload, usernameClaim);
  const isAdmin = trustAdmin && saysAdmin(claimAt(payload, roleClaim), roleClaim);
  return {
    ...common,
    // Without `iat` the end is the token's own: counted from now, it would move with every look.
    expiresAt: common.issuedAt === undefined ? common.expiresAt : ends,
    role: isAdmin ? 'admin' : 'player',
    outside: true,
    ...(typeof username === 'string' && username.length <= MAX_USERNAME && { username }),
  };
}

/** A list of roles counts where the operator has named the claim that holds it. */
const saysAdmin = (role: unknown, claim: string): boolean =>
  role === 'admin' || (claim !== 'role' && Array.isArray(role) && role.includes('admin'));

/** A claim by its name (which may have dots, as `https://game.example/role`), or by a path as `realm_access.roles`. */
function claimAt(payload: Record<string, unknown>, path: string): unknown {
  if (Object.hasOwn(payload, path)) return payload[path];
  let value: unknown = payload;
  for (const key of path.split('.')) {
    if (!isObject(value) || !Object.hasOwn(value, key)) return undefined;
    value = value[key];
  }
  return value;
}
