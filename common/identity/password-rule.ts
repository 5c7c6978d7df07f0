import Joi from 'joi';

/** A password that is chosen, by a player or by an operator. */
export const passwordSchema = Joi.string().min(8).max(200).description('8 to 200 characters');
