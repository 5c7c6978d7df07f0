import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';

export const root = join(import.meta.dirname, '../..');

/** The parts of a service that the tests look at. The schema says that the rest is well-formed. */
export interface Service {
  readonly image: string;
  readonly build?: { readonly context: string; readonly dockerfile: string };
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string | number>>;
  readonly volumes?: readonly string[];
  readonly deploy?: { readonly replicas?: number };
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
}

export interface ComposeFile {
  readonly services: Readonly<Record<string, Service>>;
}

/** docker-compose.yml as Compose takes it: anchors and merges resolved, then variables put into the values. */
export function readCompose(env: Readonly<Record<string, string>>): ComposeFile {
  const text = readFileSync(join(root, 'docker-compose.yml'), 'utf8');
  return interpolate(parse(text, { merge: true }), env) as ComposeFile;
}

/** `${NAME}`, `${NAME:-default}`, `${NAME:?message}` and `$$`, which are the forms that our file uses. */
const variable = /\$(?:(\$)|\{(\w+)(?:(:-|:\?)([^}]*))?\})/g;

function interpolate(value: unknown, env: Readonly<Record<string, string>>): unknown {
  if (Array.isArray(value)) return value.map((item) => interpolate(item, env));
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, interpolate(item, env)]));
  }
  if (typeof value !== 'string') return value;
  return value.replaceAll(
    variable,
    (_whole, dollar: string | undefined, name: string, operator: string | undefined, rest = '') => {
      if (dollar !== undefined) return '$';
      const given = env[name] ?? '';
      if (operator === ':?' && given === '') throw new Error(`${name} is required: ${String(rest)}`);
      return given === '' && operator === ':-' ? String(rest) : given;
    },
  );
}

/** The settings in .env.example: those that are to be filled in, and those that are commented out. */
export function readEnvExample(): { required: Map<string, string>; optional: string[] } {
  const lines = readFileSync(join(root, '.env.example'), 'utf8').split('\n');
  const required = new Map<string, string>();
  const optional: string[] = [];
  for (const line of lines) {
    const [, comment, name, value] = /^(# )?([A-Z_]+)=(.*)$/.exec(line) ?? [];
    if (name === undefined) continue;
    if (comment === undefined) required.set(name, value ?? '');
    else optional.push(name);
  }
  return { required, optional };
}
