import openapiTS, { astToString } from 'openapi-typescript';
import { format, resolveConfig } from 'prettier';
import { fileURLToPath } from 'node:url';

/** The types of the API, from which those of the SDK are taken. */
export const API_TYPES = fileURLToPath(new URL('../client/api-types.ts', import.meta.url));

const HEADER = `// Made from the OpenAPI document by \`npm run docs:api\`; a test compares. Do not edit.\n\n`;

/** TypeScript types of an OpenAPI document. */
export async function apiTypes(document: unknown): Promise<string> {
  const nodes = await openapiTS(document as Parameters<typeof openapiTS>[0], {
    // A default makes a parameter optional to send.
    defaultNonNullable: false,
  });
  const style = await resolveConfig(API_TYPES);
  return format(HEADER + astToString(nodes), { ...style, parser: 'typescript' });
}
