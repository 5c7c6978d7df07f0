import fc from 'fast-check';

type Json = Record<string, any>;

/** Text of every kind that has ever been a surprise. */
export const hostileText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 30 }),
  fc.constantFrom(
    '',
    ' ',
    '\u0000',
    '\ud800',
    '\u202e',
    "'",
    '%',
    '%00',
    '../..',
    '__proto__',
    '{}',
    '-1',
    '1e999',
    'NaN',
  ),
  fc.string({ minLength: 200, maxLength: 300 }),
);
const hostileValue = fc.oneof(
  hostileText,
  fc.constantFrom<unknown>(null, true, 0, -1, 1.5, 1e308, 2 ** 53, [], {}, [[]], { $ne: null }),
  fc.jsonValue({ maxDepth: 3 }),
);

const formats: Record<string, fc.Arbitrary<string>> = {
  'date-time': fc
    .date({ noInvalidDate: true, min: new Date(0), max: new Date('2100-01-01') })
    .map((date) => date.toISOString()),
  date: fc
    .date({ noInvalidDate: true, min: new Date(0), max: new Date('2100-01-01') })
    .map((date) => date.toISOString().slice(0, 10)),
  email: fc.emailAddress(),
  uri: fc.webUrl({ validSchemes: ['https'] }),
  uuid: fc.uuid(),
};

/** Values that a JSON Schema allows (of the part of JSON Schema that the document uses), or nearly so. */
export class SchemaArbitrary {
  readonly #schemas: Json;
  readonly #known: Readonly<Record<string, readonly unknown[]>>;

  /** @param known values that mean something, by the name of the property or parameter */
  constructor(schemas: Json, known: Readonly<Record<string, readonly unknown[]>>) {
    this.#schemas = schemas;
    this.#known = known;
  }

  /** @param name of the property or parameter that the value is for */
  valid(schema: Json, name?: string): fc.Arbitrary<unknown> {
    const known = name !== undefined && Object.hasOwn(this.#known, name) ? this.#known[name]! : [];
    const any = this.#any(schema);
    return known.length > 0 ? fc.oneof(fc.constantFrom(...known), any) : any;
  }

  /** Mostly right: one member is wrong, missing, or too many. */
  invalid(schema: Json, name?: string): fc.Arbitrary<unknown> {
    if (schema['type'] !== 'object') return hostileValue;
    const names = Object.keys(schema['properties'] ?? {});
    const spoil = fc.tuple(
      this.valid(schema, name),
      fc.constantFrom(...names, 'unknown'),
      fc.option(hostileValue, { nil: undefined }),
    );
    return fc.oneof(
      {
        weight: 4,
        arbitrary: spoil.map(([value, member, other]) => ({ ...(value as Json), [member]: other })),
      },
      { weight: 1, arbitrary: hostileValue },
    );
  }

  #any(schema: Json): fc.Arbitrary<unknown> {
    if (typeof schema['$ref'] === 'string')
      return this.#any(this.#schemas[schema['$ref'].split('/').at(-1)!]);
    if (schema['const'] !== undefined) return fc.constant(schema['const']);
    if (Array.isArray(schema['enum'])) return fc.constantFrom<unknown>(...(schema['enum'] as unknown[]));
    const choices = (schema['anyOf'] ?? schema['oneOf']) as Json[] | undefined;
    if (choices) return fc.oneof(...choices.map((choice) => this.#any(choice)));
    if (Array.isArray(schema['type']))
      return fc.oneof(...(schema['type'] as string[]).map((type) => this.#any({ ...schema, type })));
    switch (schema['type']) {
      case 'null':
        return fc.constant(null);
      case 'boolean':
        return fc.boolean();
      case 'integer':
        return fc.integer({ min: schema['minimum'] ?? -1000, max: schema['maximum'] ?? 1_000_000 });
      case 'number':
        return fc.double({ min: schema['minimum'] ?? -1000, max: schema['maximum'] ?? 1000, noNaN: true });
      case 'array':
        return fc.array(this.#any(schema['items'] ?? {}), {
          minLength: schema['minItems'] ?? 0,
          maxLength: Math.min(schema['maxItems'] ?? 5, 5),
        });
      case 'object': {
        const properties = Object.entries<Json>(schema['properties'] ?? {});
        return fc.record(
          Object.fromEntries(properties.map(([key, value]) => [key, this.valid(value, key)])),
          { requiredKeys: (schema['required'] ?? []) as string[] },
        );
      }
      case 'string':
        return this.#text(schema);
      default:
        return fc.jsonValue({ maxDepth: 2 });
    }
  }

  #text({ format, pattern, minLength = 0, maxLength = 40 }: Json): fc.Arbitrary<string> {
    if (typeof format === 'string' && formats[format]) return formats[format];
    if (typeof pattern === 'string') return fc.stringMatching(new RegExp(pattern));
    return fc.string({ minLength, maxLength: Math.min(maxLength, minLength + 60) });
  }
}
