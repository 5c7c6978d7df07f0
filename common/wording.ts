import type Joi from 'joi';
import type { FieldError } from './problems.ts';

/** What is wrong with a value, said of the value: where it is stands beside it. A schema may know better, by `messages()`. */
const messages: Record<string, string> = {
  'any.custom': 'is not valid',
  'any.invalid': 'must not be {{#invalids}}',
  'any.only': 'must be {if(#valids.length == 1, "", "one of: ")}{{#valids}}',
  'any.required': 'is required',
  'any.unknown': 'must be left out',
  'alternatives.any': 'does not have one of the forms that the documentation lists',
  'alternatives.match': 'does not have one of the forms that the documentation lists',
  'alternatives.types': 'must be one of: {{#types}}',
  'array.base': 'must be a list',
  'array.includes': 'is not what the list holds',
  'array.max': 'must have at most {{#limit}} item{if(#limit == 1, "", "s")}',
  'array.min': 'must have at least {{#limit}} item{if(#limit == 1, "", "s")}',
  'array.sparse': 'must not have gaps',
  'array.unique': 'is in the list already',
  'boolean.base': 'must be true or false',
  'number.base': 'must be a number',
  'number.infinity': 'must be a finite number',
  'number.integer': 'must be a whole number',
  'number.max': 'must be at most {{#limit}}',
  'number.min': 'must be at least {{#limit}}',
  'number.positive': 'must be above 0',
  'number.unsafe': `must be between ${Number.MIN_SAFE_INTEGER} and ${Number.MAX_SAFE_INTEGER}`,
  'object.base': 'must be an object',
  'object.max': 'must have at most {{#limit}} field{if(#limit == 1, "", "s")}',
  'object.min': 'must have at least {{#limit}} field{if(#limit == 1, "", "s")}',
  'object.oxor': 'may have only one of: {{#peers}}',
  'object.unknown': 'is not a known field',
  'string.base': 'must be text',
  'string.email': 'must be an e-mail address, as ada@example.org',
  'string.empty': 'must not be empty',
  'string.hex': 'must have hexadecimal digits only',
  'string.isoDate': 'must be a time in ISO 8601, as 2026-03-02T18:30:00.000Z',
  'string.length': 'must have {{#limit}} characters',
  'string.max': 'must have at most {{#limit}} character{if(#limit == 1, "", "s")}',
  'string.min': 'must have at least {{#limit}} character{if(#limit == 1, "", "s")}',
  // A pattern says nothing to people: each has a name, `pattern(…, 'a day, as 2026-03-02')`.
  'string.pattern.base': 'does not have the right form',
  'string.pattern.name': 'must be {{#name}}',
  'string.trim': 'must not begin or end with a space',
  'string.uri': 'must be an address, as https://example.org/',
  'string.uriCustomScheme': 'must be an address, as https://example.org/',
};

/** Preferences of a check whose messages people read: our words instead of joi's. */
export const wording = {
  messages,
  errors: { label: false, wrap: { label: false, array: false } },
} satisfies Joi.ValidationOptions;

/** What is wrong, field by field. @param schema which found it under {@link wording}, without preferences of its own */
export function fieldErrors(error: Joi.ValidationError, schema: Joi.ObjectSchema): FieldError[] {
  const faults = error.details.map(({ path, type, message }) => {
    const known = type === 'object.unknown' && path.length === 1 ? fieldsOf(schema) : [];
    return {
      path: path.join('.'),
      message: known.length > 0 ? `${message}; known are ${known.join(', ')}` : message,
    };
  });
  // Two rules of a field may say the same.
  return [...new Map(faults.map((fault) => [`${fault.path} ${fault.message}`, fault])).values()];
}

/** All of it in one sentence. @param part what an error without a path is about */
export const sentenceOf = (errors: readonly FieldError[], part = ''): string =>
  errors.map(({ path, message }) => `${path || part} ${message}`.trim()).join('; ');

const fieldsOf = (schema: Joi.ObjectSchema): string[] => {
  const { keys = {} } = schema.describe() as { keys?: Record<string, Joi.Description> };
  return Object.keys(keys).filter((key) => key !== '_'); // which libraries add, and which means nothing
};
