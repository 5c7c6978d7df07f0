import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import type { Logger } from './logger.ts';
import type { Database } from './postgres.ts';

/** The files that `laurel migrate` runs stand beside the tiers; what they hold is what this version needs. */
const folder = new URL('../migrations/', import.meta.url);
const filesIn = (path: string, suffix: string): string[] =>
  readdirSync(new URL(path, folder))
    .filter((file) => file.endsWith(suffix))
    .sort();

const needed: readonly string[] = filesIn('./', '.up.sql').map((file) => file.slice(0, -'.up.sql'.length));
/** As migrations/index.ts remembers it in `function_set`. */
const functionsHash = createHash('sha256')
  .update(
    filesIn('functions/', '.sql')
      .map((file) => readFileSync(new URL(`functions/${file}`, folder), 'utf8'))
      .join('\n'),
  )
  .digest('hex');

const UNDEFINED_TABLE = '42P01';
const ADVICE = 'Run `laurel migrate` of this version.';

/**
 * Why a database's schema is not the one that this version needs; undefined when it is. One of a later version will do, as during
 * an upgrade.
 *
 * @throws when Postgres is away
 */
async function schemaProblem(db: Database): Promise<string | undefined> {
  try {
    const rows = await db<{ name: string }>('knex_migrations').select('name');
    const present = new Set(rows.map(({ name }) => name));
    const missing = needed.filter((name) => !present.has(name));
    if (missing.length > 0) return `The database lacks the migrations ${missing.join(', ')}. ${ADVICE}`;
    const isNewer = rows.some(({ name }) => name > (needed.at(-1) ?? ''));
    const [functions] = await db<{ hash: string }>('function_set').select('hash');
    if (functions?.hash !== functionsHash && !isNewer)
      return `The database's functions are those of another version. ${ADVICE}`;
    return undefined;
  } catch (error) {
    if ((error as { code?: unknown }).code !== UNDEFINED_TABLE) throw error;
    return `The database has no schema. ${ADVICE}`;
  }
}

/**
 * A check for `/readyz`, made at once, and logged while it fails. What was right once stays so: a schema does not lose anything
 * under running processes.
 */
export function schemaCheck(db: Database, log: Logger): () => Promise<string | boolean> {
  let known: string | undefined | null = null;
  const check = async (): Promise<string | boolean> => {
    if (known === undefined) return true;
    const problem = await schemaProblem(db);
    if (problem !== undefined && problem !== known) log.error(problem);
    known = problem;
    return problem ?? true;
  };
  check().catch(() => undefined); // Postgres is away: `/readyz` asks again
  return check;
}
