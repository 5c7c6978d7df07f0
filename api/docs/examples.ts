import type { Components, Json } from './json-schema.ts';
import { vocabulary } from './vocabulary.ts';

/** Stands where nobody gave an example; a test refuses documents that contain it. */
export const NO_EXAMPLE = 'NO EXAMPLE';

const byFormat: Readonly<Record<string, string>> = {
  'date-time': '2026-03-02T18:30:00.000Z',
  date: '2026-03-02',
  email: 'ada@example.org',
  uuid: '01980f3c-5b64-7a79-8e0f-6a3b2c1d0e90',
  uri: 'https://example.org/',
};

/**
 * An example of a schema, put together of the examples of its members: their own, that of their name, or what the schema
 * itself tells.
 *
 * @param name of the parameter or member that the schema is of
 */
export function exampleOf(schema: Json, components: Components, name?: string): unknown {
  const resolved = components.resolve(schema);
  const { examples, enum: values, const: only, default: preset, anyOf, oneOf, properties, items } = resolved;
  if (Array.isArray(examples) && examples.length > 0) return examples[0] as unknown;
  if (only !== undefined) return only;
  const known = name !== undefined && Object.hasOwn(vocabulary, name) ? vocabulary[name] : undefined;
  const word = [known?.example, ...(known?.otherExamples ?? [])].find(
    (one) => one !== undefined && isOf(one, resolved),
  );
  if (Array.isArray(values)) return values.includes(word) ? word : (preset ?? (values[0] as unknown));
  const choices = (anyOf ?? oneOf) as Json[] | undefined;
  if (choices?.[0]) return exampleOf(choices[0], components, name);
  const [type = 'object'] = [resolved['type']].flat() as string[];
  if (type === 'object' && properties) {
    return Object.fromEntries(
      Object.entries(properties as Record<string, Json>).map(([key, value]) => [
        key,
        exampleOf(value, components, key),
      ]),
    );
  }
  const holdsObjects = type === 'array' && 'properties' in components.resolve((items ?? {}) as Json);
  if (word !== undefined && !holdsObjects) return word;
  if (preset !== undefined) return preset;
  switch (type) {
    case 'array':
      return items ? [exampleOf(items as Json, components, name?.replace(/s$/, ''))] : [];
    case 'integer':
    case 'number':
      return resolved['minimum'] ?? 0;
    case 'boolean':
      return true;
    case 'string':
      return byFormat[String(resolved['format'])] ?? NO_EXAMPLE;
    case 'null':
      return null;
    default:
      return {};
  }
}

/** Whether a value is of a type that the schema names, of its pattern, and of the schema of its values. */
function isOf(value: unknown, { type, pattern, patternProperties }: Json): boolean {
  const types = [type].flat() as (string | undefined)[];
  if (value === null) return types.includes('null');
  if (Array.isArray(value)) return types.includes('array');
  if (typeof value === 'number')
    return types.includes('number') || (types.includes('integer') && Number.isInteger(value));
  if (typeof value === 'string' && typeof pattern === 'string')
    return types.includes('string') && new RegExp(pattern, 'u').test(value);
  if (typeof value === 'object') {
    const schemas = Object.values((patternProperties ?? {}) as Record<string, Json>);
    return (
      types.includes('object') &&
      schemas.every((schema) => Object.values(value).every((one) => isOf(one, schema)))
    );
  }
  return types.includes(typeof value);
}
