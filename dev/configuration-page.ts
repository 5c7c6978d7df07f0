import { format, resolveConfig } from 'prettier';
import { fileURLToPath } from 'node:url';
import { variables, type Variable } from '../common/config.ts';

/** Where the page belongs. */
export const configurationFile = fileURLToPath(new URL('../docs/configuration.md', import.meta.url));

/** The parts of Joi's description of a schema that the page tells. */
interface Description {
  readonly type?: string;
  readonly flags?: { readonly default?: unknown; readonly only?: boolean };
  readonly allow?: readonly unknown[];
  readonly rules?: readonly {
    readonly name: string;
    readonly args?: { readonly limit?: number; readonly options?: { readonly scheme?: readonly string[] } };
  }[];
}

const code = (value: unknown): string => `\`${String(value)}\``;

function describeValues({ type, flags, allow, rules = [] }: Description): string {
  if (flags?.only) return (allow ?? []).map(code).join(', ');
  const limit = (name: string): number | undefined => rules.find((rule) => rule.name === name)?.args?.limit;
  if (type === 'number') {
    return `${limit('min')?.toLocaleString('en') ?? '…'} to ${limit('max')?.toLocaleString('en') ?? '…'}`;
  }
  if (type === 'boolean') return '`true`, `false`';
  if (type === 'list') return 'list, comma-separated';
  const schemes = rules.find((rule) => rule.name === 'uri')?.args?.options?.scheme;
  return schemes ? `address: ${schemes.map((scheme) => code(`${scheme}://`)).join(', ')}` : 'text';
}

function describeDefault({ flags }: Description): string {
  const value = flags?.default;
  return value === undefined || (Array.isArray(value) && value.length === 0) ? '' : code(value);
}

const cell = (text: string): string => text.replaceAll('|', '\\|');

/** docs/configuration.md, from the table in common/config.ts: every variable is documented where it is declared. */
export async function configurationPage(): Promise<string> {
  const rows = Object.entries<Variable<unknown>>(variables).map(([name, { doc, schema }]) => {
    const description = schema.describe() as Description;
    return `| ${[code(name), describeDefault(description), describeValues(description), doc].map(cell).join(' | ')} |`;
  });
  const page = `<!-- Made by \`npm run docs:config\` from common/config.ts. Do not edit. -->

# Configuration

Laurel reads its settings from the environment, once, when a process starts. A value that is not allowed ends the start
with a message that names every such variable. An empty variable counts as not set.

Every process takes all of them, and the tiers must agree on those that they share: give all processes the same.

| variable | default | allowed | meaning |
|---|---|---|---|
${rows.join('\n')}
`;
  return format(page, { ...(await resolveConfig(configurationFile)), parser: 'markdown' });
}
