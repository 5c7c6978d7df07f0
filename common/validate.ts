import Joi from 'joi';

/** The last time that a Date can hold, ms since the epoch; the first is as long before it. */
export const LAST_TIME_MS = 8.64e15;

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null;

/** Whether a value is an object with text under each of these keys: for forms that are checked by hand, where a schema costs too much. */
export const hasTexts = (value: unknown, ...keys: readonly string[]): value is Record<string, unknown> =>
  isObject(value) && keys.every((key) => typeof value[key] === 'string');

/** Schemas that convert nothing, by those that they were made from: joi takes preferences that come with a call apart every time. */
const strict = new WeakMap<Joi.Schema, Joi.Schema>();

/** Takes a value for what the schema says, converting nothing. @throws a readable error when it is not that */
export function check<T>(value: unknown, schema: Joi.Schema<T>, label?: string): T {
  let prepared = strict.get(schema);
  if (!prepared) strict.set(schema, (prepared = schema.prefs({ convert: false })));
  return Joi.attempt(value, prepared, label ?? '') as T;
}
