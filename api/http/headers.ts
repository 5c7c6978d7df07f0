import type { ServerResponse } from 'node:http';

/** The headers that a response has so far: names in lower case, as Node lists them, and values as text. */
export const headersOf = (response: ServerResponse): [name: string, value: string][] =>
  Object.entries(response.getHeaders()).map(([name, value]) => [name, String(value)]);
