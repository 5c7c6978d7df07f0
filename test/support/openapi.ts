import addFormats from 'ajv-formats';
import { Ajv2020 } from 'ajv/dist/2020.js';

type Json = Record<string, any>;

/** One operation of an OpenAPI document. */
export interface Operation {
  readonly method: string;
  readonly path: string;
  readonly definition: Json;
  /** `GET /api/v1/…`, for messages */
  readonly title: string;
}

export const operationsOf = (document: Json): Operation[] =>
  Object.entries<Json>(document['paths']).flatMap(([path, methods]) =>
    Object.entries<Json>(methods).map(([method, definition]) => ({
      method: method.toUpperCase(),
      path,
      definition,
      title: `${method.toUpperCase()} ${path}`,
    })),
  );

/**
 * The document with its objects closed: clients must bear members that come later, but a test wants to hear of a member
 * that the document does not tell of.
 */
export function closed<T>(value: T): T {
  if (Array.isArray(value)) return value.map((one: unknown) => closed(one)) as T;
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).map(([key, member]) => [
    key,
    key === 'example' || key === 'examples' ? member : closed(member),
  ]);
  const copy = Object.fromEntries(members) as Json;
  // A schema, and not an object of schemas one of which is called “properties”.
  if (copy['type'] === 'object' && copy['properties'] && copy['additionalProperties'] === undefined)
    copy['additionalProperties'] = false;
  return copy as T;
}

/** What a reference within the document leads to; anything else is itself. */
export function resolved(document: Json, value: Json): Json {
  if (typeof value['$ref'] !== 'string') return value;
  const parts = value['$ref'].replace('#/', '').split('/');
  return parts.reduce((part: Json, key) => part[key], document);
}

/** Checks values against the parts of an OpenAPI document. */
export class DocumentChecks {
  readonly #ajv = new Ajv2020({ strict: false, allErrors: true });

  constructor(document: Json) {
    addFormats.default(this.#ajv);
    this.#ajv.addSchema({ $id: 'document', ...document });
  }

  /** @param way to a schema in the document @returns what is wrong with the value; empty if nothing is */
  errors(way: readonly string[], value: unknown): string[] {
    const pointer = way
      .map((part) => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1')))
      .join('/');
    const check = this.#ajv.getSchema(`document#/${pointer}`);
    if (!check) throw new Error(`The document has nothing at ${pointer}.`);
    if (check(value)) return [];
    return (check.errors ?? []).map((error) => `${error.instancePath} ${error.message}`);
  }
}
