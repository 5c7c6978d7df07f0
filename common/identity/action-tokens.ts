import { createHash } from 'node:crypto';
import jwt from 'jsonwebtoken';
import Joi from 'joi';
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

const payloadSchema = Joi.object({
  jti: Joi.string().required(),
  sub: Joi.string().required(),
  typ: Joi.string().required(),
  lb: Joi.string().required(),
  pts: Joi.number().integer().min(0).required(),
  dif: Joi.string(),
  st: Joi.number().integer().required(),
  iat: Joi.number().required(),
  exp: Joi.number().required(),
  aud: Joi.valid(AUDIENCE).required(),
});

/** Signs and verifies action tokens: JWTs (HS256) with secrets of their own. */
export class ActionTokens {
  readonly #secrets: readonly SecretKey[];

  /** @param secrets newest first; the first signs, all verify */
  constructor(secrets: readonly string[]) {
    this.#secrets = secretKeys(secrets);
  }

  sign(claims: ActionClaims): string {
    const [newest] = this.#secrets;
    if (!newest) throw new Error('ACTION_TOKEN_SECRETS is empty');
    const { actionId, userId, type, leaderboard, points, difficulty, startedAt, expiresAt } = claims;
    const payload = {
      jti: actionId,
      sub: userId,
      typ: type,
      lb: leaderboard,
      pts: points,
      st: startedAt,
      ...(difficulty !== undefined && { dif: difficulty }),
    };
    return jwt.sign(
      { ...payload, aud: AUDIENCE, iat: Math.floor(startedAt / 1000), exp: Math.floor(expiresAt / 1000) },
      newest.key,
      {
        algorithm: 'HS256',
        keyid: newest.id,
      },
    );
  }

  /** @returns the claims, whose expiry is the caller's to judge, or why the token is not good */
  verify(token: string): ActionClaims | ActionTokenFault {
    if (token.length > MAX_LENGTH || !shape.test(token)) return 'ACTION_TOKEN_MALFORMED';
    const header = tokenHeader(token);
    if (!header) return 'ACTION_TOKEN_MALFORMED';
    for (const { key } of this.#candidates(header.kid)) {
      try {
        const payload = jwt.verify(token, key, {
          algorithms: ['HS256'],
          audience: AUDIENCE,
          ignoreExpiration: true,
        });
        const { value, error } = payloadSchema.validate(payload, { convert: false }) as {
          value: {
            jti: string;
            sub: string;
            typ: string;
            lb: string;
            pts: number;
            st: number;
            dif?: string;
            exp: number;
          };
          error?: Error;
        };
        if (error) return 'ACTION_TOKEN_INVALID';
        return {
          actionId: value.jti,
          userId: value.sub,
          type: value.typ,
          leaderboard: value.lb,
          points: value.pts,
          ...(value.dif !== undefined && { difficulty: value.dif }),
          startedAt: value.st,
          expiresAt: value.exp * 1000,
        };
      } catch {
        continue; // not by this secret
      }
    }
    return 'ACTION_TOKEN_INVALID';
  }

  /** The secret that the token names, or all of them: a wrong name is then a bad signature. */
  #candidates(keyId: string | undefined): readonly SecretKey[] {
    const named = this.#secrets.filter(({ id }) => id === keyId);
    return named.length > 0 ? named : this.#secrets;
  }
}

/** What is kept of a token: hex SHA-256. */
export const tokenHash = (token: string): string => createHash('sha256').update(token).digest('hex');
