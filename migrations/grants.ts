import type { Knex } from 'knex';

/**
 * What the tiers do with each table, and all that their role may do with it. What is not here they may not even read. Scores, the
 * ledger and what is made of it are written by functions only, which run as their owner.
 */
export const tableRights: Readonly<Record<string, readonly string[]>> = {
  users: ['select', 'insert', 'update'],
  sessions: ['select', 'insert', 'update', 'delete'],
  refresh_tokens: ['select', 'insert', 'update', 'delete'],
  password_resets: ['select', 'insert', 'update', 'delete'],
  erased_subjects: ['select', 'insert', 'update', 'delete'],
  user_changes: ['select', 'insert', 'update', 'delete'],
  friends: ['select', 'insert', 'delete'],
  leaderboards: ['select', 'insert', 'update'],
  action_types: ['select', 'insert', 'update'],
  features: ['select', 'insert', 'update'],
  actions: ['select', 'insert', 'update'],
  queued_completions: ['select', 'insert', 'update', 'delete'],
  queued_corrections: ['select', 'insert', 'update', 'delete'],
  idempotency_keys: ['select', 'insert', 'update', 'delete'],
  audit_log: ['select', 'insert'],
  reconciliations: ['select', 'insert', 'update'],
  upkeep_marks: ['select', 'insert', 'update'],
  board_periods: ['select', 'insert'],
  ledger: ['select'],
  scores: ['select'],
  standings: ['select'],
  completion_ranks: ['select'],
  achievements: ['select'],
  erasures: ['select'],
  daily_gains: ['select'],
  daily_gains_mark: ['select'],
  knex_migrations: ['select'],
  function_set: ['select'],
};

/** Tables of which the tiers have no need. */
export const closedTables: readonly string[] = ['subject_key', 'knex_migrations_lock'];

const sequences = ['users_revision'];

/** The functions that the tiers call. Others are called by these, which run as their owner, or by triggers. */
const callable = [
  'apply_completions',
  'apply_correction',
  'archive_board_period',
  'clear_audit_addresses',
  'close_board_period',
  'epoch_ms',
  'erase_user',
  'finish_erasure',
  'from_epoch_ms',
  'index_rows',
  'insert_client_action',
  'lock_calendar',
  'open_leaderboard',
  'period_end',
  'period_start',
  'record_acceptance',
  'record_ranks',
  'set_aside_completion',
  'subject_hash',
  'sum_daily_gains',
];

/**
 * Closes our functions to everybody but their owner and, where a role is given, lets it do what the tiers do and nothing else. Safe
 * to repeat: what an earlier version granted and this one does not is taken back.
 *
 * @param functions names of all of our functions
 * @param role under which the tiers run; without one they run as the owner
 * @throws when there is no such role, or it can do more than it should in some other way; nothing is granted then
 */
export async function grantRights(trx: Knex, functions: readonly string[], role?: string): Promise<void> {
  const ours = await signatures(trx, functions);
  for (const { signature } of ours) await trx.raw(`revoke all on function ${signature} from public`);
  if (role === undefined) return;
  const { rows } = await trx.raw<{ rows: object[] }>('select from pg_roles where rolname = ?', [role]);
  if (rows.length === 0)
    throw new Error(
      `There is no role ${role} (DATABASE_APP_ROLE). Make it: create role "${role}" login password '…';`,
    );
  const [place] = (
    await trx.raw<{ rows: { schema: string; database: string }[] }>(
      'select current_schema() as schema, current_database() as database',
    )
  ).rows;
  const { schema = '', database = '' } = place ?? {};
  await trx.raw('grant connect on database ?? to ??', [database, role]);
  await trx.raw('grant usage on schema ?? to ??', [schema, role]);
  for (const table of closedTables) await trx.raw('revoke all on ?? from ??', [table, role]);
  for (const [table, rights] of Object.entries(tableRights)) {
    await trx.raw('revoke all on ?? from ??', [table, role]);
    await trx.raw(`grant ${rights.join(', ')} on ?? to ??`, [table, role]);
  }
  for (const sequence of sequences) await trx.raw('grant usage on sequence ?? to ??', [sequence, role]);
  for (const { name, signature } of ours)
    await trx.raw(
      `${callable.includes(name) ? 'grant' : 'revoke'} all on function ${signature} ${callable.includes(name) ? 'to' : 'from'} ??`,
      [role],
    );
  const excess = await excessOf(trx, role, schema, database);
  if (excess !== undefined) throw new Error(`The role ${role} (DATABASE_APP_ROLE) ${excess}`);
}

async function signatures(
  trx: Knex,
  functions: readonly string[],
): Promise<readonly { name: string; signature: string }[]> {
  const { rows } = await trx.raw<{ rows: { name: string; signature: string }[] }>(
    `select proname as name, oid::regprocedure::text as signature from pg_proc
     where pronamespace = current_schema()::regnamespace and proname = any (?)`,
    [[...functions]],
  );
  return rows;
}

/** What a role may do that the tiers' must not, and how to end it: rights also come from roles that it is in, and from everybody's. */
async function excessOf(
  trx: Knex,
  role: string,
  schema: string,
  database: string,
): Promise<string | undefined> {
  const { rows } = await trx.raw<{
    rows: { superuser: boolean; owner: string | null; schema: boolean; database: boolean; ledger: boolean }[];
  }>(
    `select r.rolsuper as superuser,
       (select pg_get_userbyid(relowner) from pg_class
        where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p') and pg_has_role(r.oid, relowner, 'member')
          and not r.rolsuper limit 1) as owner,
       has_schema_privilege(r.oid, current_schema(), 'create') as schema,
       has_database_privilege(r.oid, current_database(), 'create') as database,
       has_table_privilege(r.oid, 'ledger', 'insert, update, delete, truncate, trigger')
         or has_table_privilege(r.oid, 'audit_log', 'update, delete, truncate, trigger') as ledger
     from pg_roles r where r.rolname = ?`,
    [role],
  );
  const [may] = rows;
  if (!may) return 'has gone.';
  if (may.superuser) return 'is a superuser, whom no right holds back. Give the tiers an ordinary role.';
  if (may.owner !== null)
    return `owns tables of Laurel, or is a member of their owner ${may.owner}. Run migrate as another role, the owner: MIGRATE_DATABASE_URL.`;
  if (may.schema)
    return `may create tables in the schema ${schema}. Run as its owner: revoke create on schema "${schema}" from public, "${role}";`;
  if (may.database)
    return `may create schemas in the database ${database}. Run as its owner: revoke create on database "${database}" from public, "${role}";`;
  if (may.ledger)
    return 'may write to the ledger or change the audit log through another role or the rights of everybody (public). Take those away.';
  return undefined;
}
