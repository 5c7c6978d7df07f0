import type Joi from 'joi';
import { vocabulary } from './vocabulary.ts';

export type Json = Record<string, unknown>;
/** Requests are closed: a misspelt field is refused. Responses are open: clients must bear fields that come later. */
export type Side = 'input' | 'output';

/** The part of joi's description of a schema that its JSON Schema lacks. */
interface Described {
  readonly flags?: {
    readonly id?: string;
    readonly description?: string;
    readonly unknown?: boolean;
  };
  readonly keys?: Readonly<Record<string, Described>>;
  readonly items?: readonly Described[];
  readonly matches?: readonly { readonly schema?: Described }[];
  readonly allow?: readonly unknown[];
  readonly examples?: readonly unknown[];
}

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The named schemas of a document, as they are met. */
export class Components {
  readonly schemas: Record<string, Json> = {};

  /**
   * A joi schema as JSON Schema 2020-12, the dialect of OpenAPI 3.1. Schemas with an id become components and are
   * referred to.
   *
   * @param name makes the schema a component of this name, if it has no id
   */
  from(schema: Joi.Schema, side: Side, name?: string): Json {
    const converted = schema['~standard'].jsonSchema[side]({ target: 'draft-2020-12' });
    const described = schema.describe() as Described;
    return this.#place(converted, described, side, described.flags?.id ?? name);
  }

  /** Registers a schema that no route has. */
  add(name: string, schema: Json): Json {
    this.schemas[name] = schema;
    return { $ref: `#/components/schemas/${name}` };
  }

  resolve(schema: Json): Json {
    const { $ref } = schema;
    if (typeof $ref !== 'string') return schema;
    return this.schemas[$ref.split('/').at(-1) ?? ''] ?? {};
  }

  #place(schema: Json, described: Described, side: Side, id: string | undefined, word?: string): Json {
    const complete = this.#complete(schema, described, side, word);
    if (id === undefined) return complete;
    const nullable = described.allow?.includes(null) ?? false;
    const { type } = complete;
    const bare = nullable && Array.isArray(type) ? { ...complete, type: withoutNull(type) } : complete;
    const reference = this.add(id, bare);
    return nullable ? { anyOf: [reference, { type: 'null' }] } : reference;
  }

  /** Adds what joi leaves out: descriptions, examples, null beside allowed values, and references. */
  #complete(schema: Json, described: Described, side: Side, word: string | undefined): Json {
    const { additionalProperties, default: preset, ...completed } = schema;
    // joi repeats there what has an id; components hold it.
    delete completed['$defs'];
    const known = word !== undefined && Object.hasOwn(vocabulary, word) ? vocabulary[word] : undefined;
    const description = described.flags?.description ?? known?.description;
    if (description !== undefined) completed['description'] = description;
    if (described.examples && described.examples.length > 0) completed['examples'] = described.examples;
    if (side === 'input' && preset !== undefined) completed['default'] = preset;
    if (described.flags?.unknown) completed['additionalProperties'] = true;
    else if (additionalProperties !== undefined && (side === 'input' || isObject(additionalProperties)))
      completed['additionalProperties'] = additionalProperties;
    // joi's own name; JSON Schema has no such format.
    if (completed['format'] === 'hex') {
      delete completed['format'];
      completed['pattern'] = '^[0-9a-fA-F]*$';
    }
    const values = completed['enum'];
    if (described.allow?.includes(null) && Array.isArray(values) && !values.includes(null))
      completed['enum'] = [...(values as unknown[]), null];

    const { properties, items, anyOf } = completed;
    if (isObject(properties)) {
      completed['properties'] = Object.fromEntries(
        Object.entries(properties).map(([key, value]) => {
          const member = described.keys?.[key] ?? {};
          return [key, this.#place(value as Json, member, side, member.flags?.id, key)];
        }),
      );
    }
    const [item] = described.items ?? [];
    if (item && isObject(items)) completed['items'] = this.#place(items, item, side, item.flags?.id);
    if (Array.isArray(anyOf) && described.matches?.length === anyOf.length) {
      completed['anyOf'] = (anyOf as Json[]).map((choice, index) => {
        const match = described.matches?.[index]?.schema ?? {};
        return this.#place(choice, match, side, match.flags?.id);
      });
    }
    return completed;
  }
}

function withoutNull(types: readonly unknown[]): unknown {
  const others = types.filter((type) => type !== 'null');
  return others.length === 1 ? others[0] : others;
}
