import type Joi from 'joi';
import { fieldErrors, sentenceOf, wording } from '../../common/wording.ts';
import { Problem, type FieldError } from './problem.ts';

const MAX_DEPTH = 20;
/** As an own property of parsed JSON `constructor` is a word like another; this one alone reaches further when it is copied. */
const POISONOUS = '__proto__';

/**
 * Refuses what no request needs: deep nesting, keys that could reach an object's prototype, and text that Postgres
 * cannot hold (NUL, halves of a surrogate pair).
 */
function refuseHostileJson(value: unknown, depth = 1): void {
  if (typeof value === 'string') return refuseHostileText(value);
  if (typeof value !== 'object' || value === null) return;
  if (depth > MAX_DEPTH)
    throw invalid([{ path: '', message: `must not be nested deeper than ${MAX_DEPTH} levels` }], 'the JSON');
  for (const key of Object.keys(value)) {
    if (key === POISONOUS) throw invalid([{ path: key, message: 'is not an allowed name' }]);
    refuseHostileText(key);
    refuseHostileJson((value as Record<string, unknown>)[key], depth + 1);
  }
}

/** Whether text holds what no store and no page can show. */
export const isHostileText = (text: string): boolean => /\0|\p{Surrogate}/u.test(text);

function refuseHostileText(text: string): void {
  if (isHostileText(text))
    throw invalid([{ path: '', message: 'text must be well-formed Unicode without NUL characters' }]);
}

/** @param part what an error without a path is about */
const invalid = (errors: FieldError[], part = ''): Problem =>
  new Problem('INVALID_REQUEST', sentenceOf(errors, part), { errors });

const whole = { params: 'the path', query: 'the query', body: 'the body' };

/**
 * Prepares the check of a part of requests. Text is converted to numbers and flags in paths and queries, never in bodies.
 *
 * @returns checks a value @throws INVALID_REQUEST with one entry for each fault
 */
export function validator(part: 'params' | 'query' | 'body', schema: Joi.ObjectSchema) {
  // Set once: joi takes preferences that come with a call apart at every call.
  const prepared = schema.prefs({
    ...wording,
    abortEarly: false,
    convert: part !== 'body',
    stripUnknown: false,
  });
  return (value: unknown): unknown => {
    refuseHostileJson(value);
    const { value: checked, error } = prepared.validate(value) as {
      value: unknown;
      error?: Joi.ValidationError;
    };
    if (!error) return checked;
    throw invalid(fieldErrors(error, schema), whole[part]);
  };
}
