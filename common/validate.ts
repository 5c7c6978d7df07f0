import Joi from 'joi';

/** Schemas that convert nothing, by those that they were made from: joi takes preferences that come with a call apart every time. */
const strict = new WeakMap<Joi.Schema, Joi.Schema>();

/** Takes a value for what the schema says, converting nothing. @throws a readable error when it is not that */
export function check<T>(value: unknown, schema: Joi.Schema<T>, label?: string): T {
  let prepared = strict.get(schema);
  if (!prepared) strict.set(schema, (prepared = schema.prefs({ convert: false })));
  return Joi.attempt(value, prepared, label ?? '') as T;
}
