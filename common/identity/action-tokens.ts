import { hash } from 'node:crypto';
import { createSigner, createVerifier } from 'fast-jwt';
import { secretKeys, type SecretKey } from './secrets.ts';
import { tokenHeader } from './token-header.ts';

/** What the server signed when the action started: who may complete what, where, for how much, until when. */
export interface ActionClaims {
  readonly actionId: string;
  readonly userId: string;
  readonly type: string;
  readonly leaderboard: string;
  readonly points: number;
  readonly difficulty?: string;
  /** ms since the epoch */
  readonly startedAt: number;
  /** ms since the epoch, a whole second */
  readonly expiresAt: number;
}

/** Why an action token is not good, as the API's error code. */
export type ActionTokenFault = 'ACTION_TOKEN_MALFORMED' | 'ACTION_TOKEN_INVALID';

const AUDIENCE = 'laurel:action';
const MAX_LENGTH = 2048;
/** A token without a signature has the right shape, and a wrong signature. */
const shape = /^[\w-]+\.[\w-]+\.[\w-]*$/;

interface Payload {
  readonly jti: string;
  readonly sub: string;
  readonly typ: string;
  readonly lb: string;
  readonly pts: number;
  readonly dif?: string;
  readonly st: number;
  readonly iat: number;
  readonly exp: number;
  readonly aud: string;
}

const isNumber = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value);

/** By hand, as a schema would cost as much as the signature. */
function isPayload(value: unknown): value is Payload {
  if (typeof value !== 'object' || value === null) return false;
  const { jti, sub, typ, lb, pts, dif, st, iat, exp, aud } = value as Record<keyof Payload, unknown>;
  return (
    [jti, sub, typ, lb].every((text) => typeof text === 'string' && text !== '') &&
    Number.isSafeInteger(pts) &&
    Number(pts) >= 0 &&
    (dif === undefined || (typeof dif === 'string' && dif !== '')) &&
    Number.isSafeInteger(st) &&
    isNumber(iat) &&
    isNumber(exp) &&
    aud === AUDIENCE
  );
}

/** What signs and verifies with one secret. */
interface Signature {
  /** the header of every token that it signs, as it stands in them: it tells the secret without being decoded */
  readonly header: string;
  sign(payload: Omit<Payload, 'aud'>): string;
  /** @throws when the token was not signed so */
  verify(token: string): unknown;
}

/**
 * Signs and verifies action tokens: JWTs (HS256) with secrets of their own. (By fast-jwt, because each completion has one made
 * and one verified: within a server that takes jsonwebtoken twice as long.)
 */
export class ActionTokens {
  readonly #signatures: readonly Signature[];

  /** @param secrets newest first; the first signs, all verify */
  constructor(secrets: readonly string[]) {
    this.#signatures = secretKeys(secrets).map(signatureBy);
  }

  sign(claims: ActionClaims): string {
    const [newest] = this.#signatures;
    if (!newest) throw new Error('ACTION_TOKEN_SECRETS is empty');
    const { actionId, userId, type, leaderboard, points, difficulty, startedAt, expiresAt } = claims;
    return newest.sign({
      jti: actionId,
      sub: userId,
      typ: type,
      lb: leaderboard,
      pts: points,
      st: startedAt,
      ...(difficulty !== undefined && { dif: difficulty }),
      iat: Math.floor(startedAt / 1000),
      exp: Math.floor(expiresAt / 1000),
    });
  }

  /** @returns the claims, whose expiry is the caller's to judge, or why the token is not good */
  verify(token: string): ActionClaims | ActionTokenFault {
    if (token.length > MAX_LENGTH || !shape.test(token)) return 'ACTION_TOKEN_MALFORMED';
    for (const signature of this.#candidates(token)) {
      const claims = claimsIn(token, signature);
      if (claims) return claims;
    }
    return tokenHeader(token) ? 'ACTION_TOKEN_INVALID' : 'ACTION_TOKEN_MALFORMED';
  }

  /** By the secret that the token's header names, or by all of them: a wrong name is then a bad signature. */
  #candidates(token: string): readonly Signature[] {
    const header = token.slice(0, token.indexOf('.'));
    const named = this.#signatures.find((signature) => signature.header === header);
    return named ? [named] : this.#signatures;
  }
}

function signatureBy({ id, key }: SecretKey): Signature {
  const secret = key.export();
  const sign = createSigner({ key: secret, algorithm: 'HS256', kid: id });
  return {
    header: sign({}).split('.', 1)[0] ?? '',
    sign: (payload) => sign({ ...payload, aud: AUDIENCE }),
    verify: createVerifier({
      key: secret,
      algorithms: ['HS256'],
      allowedAud: AUDIENCE,
      ignoreExpiration: true,
    }),
  };
}

/** What a token says, if it was signed so. */
function claimsIn(token: string, signature: Signature): ActionClaims | undefined {
  let payload: unknown;
  try {
    payload = signature.verify(token);
  } catch {
    return undefined;
  }
  if (!isPayload(payload)) return undefined;
  const { jti, sub, typ, lb, pts, dif, st, exp } = payload;
  return {
    actionId: jti,
    userId: sub,
    type: typ,
    leaderboard: lb,
    points: pts,
    ...(dif !== undefined && { difficulty: dif }),
    startedAt: st,
    expiresAt: exp * 1000,
  };
}

/** What is kept of a token: hex SHA-256. */
export const tokenHash = (token: string): string => hash('sha256', token, 'hex');
