import type { Database } from '../../common/postgres.ts';
import { isObject } from '../../common/validate.ts';

/** Rows of one query: a page is in memory at a time, and a query is far from the statement limit of reads. */
const ROWS_A_PAGE = 200;

type Row = Record<string, unknown>;
/** @param after the last row of the page before @returns at most {@link ROWS_A_PAGE} rows */
type Page = (after: Row | undefined) => Promise<Row[]>;

const whole = (read: () => PromiseLike<Row[]>): Page => {
  return async (after) => (after ? [] : read());
};

interface Section {
  readonly name: string;
  readonly page: Page;
  /** what the API calls the id of a row */
  readonly id?: string;
}

/** Everything that is kept of a user but credentials, by table. The big ones come in pages. */
function sections(db: Database, userId: string): readonly Section[] {
  const ledger: Page = async (after) =>
    (await db('ledger as l')
      .leftJoin('completion_ranks as r', 'r.action_id', 'l.action_id')
      .where('l.user_id', userId)
      .andWhere('l.seq', '>', after?.['seq'] ?? 0)
      .orderBy('l.seq')
      .limit(ROWS_A_PAGE)
      .select(
        'l.id',
        'l.kind',
        'l.action_id',
        'l.leaderboard',
        'l.type',
        'l.points',
        'l.delta',
        'l.before',
        'l.after',
        'l.global_delta',
        'r.previous as rank_previous',
        'r.current as rank_current',
        'l.accepted_at',
        'l.applied_at',
        'l.reverses',
        'l.reason',
        'l.seq',
      )) as Row[];
  const actions: Page = async (after) =>
    (await db('actions')
      .where({ user_id: userId })
      .andWhere('id', '>', after?.['id'] ?? '')
      .orderBy('id')
      .limit(ROWS_A_PAGE)
      .select('*')) as Row[];
  return [
    {
      name: 'sessions',
      id: 'sessionId',
      page: whole(() => db('sessions').where({ user_id: userId }).orderBy('created_at').select('*')),
    },
    {
      name: 'scores',
      page: whole(() =>
        db('scores as s')
          .join('board_periods as b', 'b.id', 's.board_period_id')
          .where('s.user_id', userId)
          .orderBy('b.id')
          .select('b.leaderboard', 'b.period', 'b.starts_at', 's.score', 's.reached_at'),
      ),
    },
    {
      name: 'standings',
      page: whole(() =>
        db('board_periods as b')
          .join('standings as s', 's.board_period_id', 'b.id')
          .where('s.user_id', userId)
          .orderBy('b.id')
          .select(
            'b.leaderboard',
            'b.period',
            'b.starts_at',
            'b.ends_at',
            's.rank',
            's.score',
            's.reached_at',
          ),
      ),
    },
    {
      name: 'achievements',
      page: whole(() =>
        db('achievements')
          .where({ user_id: userId })
          .orderBy('unlocked_at')
          .select('key', 'action_id', 'unlocked_at'),
      ),
    },
    {
      name: 'friends',
      page: whole(() =>
        db('friends').where({ user_id: userId }).orderBy('since').select('friend_id as user_id', 'since'),
      ),
    },
    {
      name: 'queuedCompletions',
      page: whole(() =>
        db('queued_completions')
          .where({ user_id: userId })
          .orderBy('accepted_at')
          .select('action_id', 'payload', 'accepted_at'),
      ),
    },
    {
      name: 'auditLog',
      // What was done, and not by whom.
      page: whole(() =>
        db('audit_log').where({ subject: userId }).orderBy('id').select('id', 'at', 'action', 'details'),
      ),
    },
    { name: 'ledger', id: 'transactionId', page: ledger },
    { name: 'actions', id: 'actionId', page: actions },
  ];
}

/** Never told: they prove who somebody is, or are of the service's own making. */
const withheld = new Set([
  'passwordHash',
  'tokenHash',
  'usernameKey',
  'emailKey',
  'revision',
  'seq',
  'sig',
  'actor',
  'replyTo',
]);

/** Postgres sends bigints as text; these fit a number. */
const bigints = new Set(['points', 'score', 'delta', 'before', 'after', 'global_delta']);

/** The name that the API has for a column. */
const camelCase = (column: string): string =>
  column.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

/** A replacer for `JSON.stringify` that leaves out what is withheld, at any depth: payloads of jobs are rows, too. What the game said is the user's, under any name. */
function withhold(): (this: unknown, key: string, value: unknown) => unknown {
  const saidByGame = new WeakSet<object>();
  return function (key, value) {
    const isOfGame =
      ['metadata', 'completionMetadata'].includes(key) || (isObject(this) && saidByGame.has(this));
    if (!isOfGame) return withheld.has(key) || /secret|tokenEpoch/.test(key) ? undefined : value;
    if (isObject(value)) saidByGame.add(value);
    return value;
  };
}

/** JSON of a row, named as in the rest of the API. */
const toJson = (row: Row, id = 'id'): string =>
  JSON.stringify(
    Object.fromEntries(
      Object.entries(row).map(([column, value]) => [
        column === 'id' ? id : camelCase(column),
        bigints.has(column) ? Number(value) : value,
      ]),
    ),
    withhold(),
  );

/**
 * Everything that is kept of a user, as JSON in pieces. No connection is held between two pieces, and memory is that of one page,
 * however much there is.
 */
export async function* exportPersonalData(db: Database, userId: string): AsyncGenerator<string> {
  const user = (await db('users').where({ id: userId }).first()) as Row | undefined;
  yield `{"exportedAt":${JSON.stringify(new Date().toISOString())},"user":${toJson(user ?? {}, 'userId')}`;
  for (const { name, page, id } of sections(db, userId)) {
    yield `,${JSON.stringify(name)}:[`;
    let separator = '';
    let rows: Row[] = [];
    do {
      rows = await page(rows.at(-1));
      if (rows.length > 0) yield separator + rows.map((row) => toJson(row, id)).join(',');
      if (rows.length > 0) separator = ',';
    } while (rows.length >= ROWS_A_PAGE);
    yield ']';
  }
  yield '}';
}
