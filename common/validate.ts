import Joi from 'joi';

/** Takes a value for what the schema says, converting nothing. @throws a readable error when it is not that */
export function check<T>(value: unknown, schema: Joi.Schema<T>, label?: string): T {
  return Joi.attempt(value, schema, label ?? '', { convert: false }) as T;
}
