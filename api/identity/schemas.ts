import Joi from 'joi';
import * as schemas from '../http/schemas.ts';
import { presentUser } from '../users/present.ts';
import type { Grant } from './sessions.ts';

/** Parts of requests and responses that several routes of identity share. */
export { passwordSchema as password } from '../../common/identity/password-rule.ts';
/** One that is only compared: the rules may have been others when it was chosen. */
export const givenPassword = Joi.string().min(1).max(200);
export const noStore = { 'Cache-Control': 'no-store' };

export const grant = Joi.object({
  accessToken: Joi.string().required(),
  tokenType: Joi.string().valid('Bearer').required(),
  expiresIn: Joi.number().integer().description('seconds').required(),
  refreshToken: Joi.string().required(),
  signingKey: Joi.string().description('signs completions sent to /completions').required(),
  user: schemas.user.required(),
}).id('Login');

export const presentGrant = ({ profile, ...rest }: Grant): Record<string, unknown> => ({
  ...rest,
  user: presentUser(profile),
});
