/**
 * The scoreboard that a studio would write by hand: Express, pg and ioredis, everything inside the request. It is correct
 * (a token counts once, Postgres is the truth, one transaction a completion) and as good as the textbook's best pupil writes
 * it: pools, prepared statements, the whole transaction in one of them, one round trip to Redis where one will do, keys made
 * once, and as many processes as it is given. It has no queue, and one board, or as many as Laurel has.
 */
import cluster from 'node:cluster';
import { createSecretKey, randomUUID } from 'node:crypto';
import express, { type NextFunction, type Request, type Response } from 'express';
import { Redis } from 'ioredis';
import jwt from 'jsonwebtoken';
import pg from 'pg';

const env = (name: string): string => {
  const value = process.env[name];
  if (value === undefined) throw new Error(`Set ${name}.`);
  return value;
};

// A secret given as text is parsed anew for every token, at ten times the cost of all else: many write that, we do not.
const accessKey = createSecretKey(Buffer.from(env('JWT_SECRETS')));
const actionKey = createSecretKey(Buffer.from(env('ACTION_TOKEN_SECRETS')));
const pool = new pg.Pool({ connectionString: env('DATABASE_URL'), max: 20 });
const redis = new Redis(env('REDIS_URL'), { enableAutoPipelining: true });

/** `one`: a single board, for all time. `eight`: the action's and the global leaderboard, of the day, week, month and all time. */
const hasPeriods = env('BASELINE_BOARDS') === 'eight';
const keyOf = (board: string): string => `baseline:board:${board}`;
const NAMES = 'baseline:names';
const UPDATES = 'baseline:updates';
const PER_MINUTE = 10;
const TOKEN_SECONDS = 300;
const pointsOf: Record<string, number> = { COMPLETE_TASK: 10, COMPLETE_QUEST: 50, COMPLETE_MISSION: 100 };

interface Entry {
  readonly rank: number;
  readonly userId: string;
  readonly username: string;
  readonly score: number;
}

const isoDay = (ms: number): string => new Date(ms).toISOString().slice(0, 10);

/** Where a completion counts, its own board for all time first. */
function boardsOf(leaderboard: string): string[] {
  if (!hasPeriods) return ['global'];
  const now = Date.now();
  const monday = now - ((new Date(now).getUTCDay() + 6) % 7) * 86_400_000;
  const periods = ['', `:${isoDay(now)}`, `:week-${isoDay(monday)}`, `:${isoDay(now).slice(0, 7)}`];
  return [leaderboard, 'global'].flatMap((board) => periods.map((period) => board + period));
}

async function top10(board: string): Promise<Entry[]> {
  const flat = await redis.zrevrange(keyOf(board), 0, 9, 'WITHSCORES');
  const userIds = flat.filter((_, i) => i % 2 === 0);
  const names = userIds.length > 0 ? await redis.hmget(NAMES, ...userIds) : [];
  return userIds.map((userId, i) => ({
    rank: i + 1,
    userId,
    username: names[i] ?? userId,
    score: Number(flat[2 * i + 1]),
  }));
}

function authenticate(request: Request, response: Response, next: NextFunction): void {
  try {
    const token = (request.headers.authorization ?? '').replace('Bearer ', '');
    const { sub } = jwt.verify(token, accessKey, { algorithms: ['HS256'] });
    response.locals['userId'] = sub;
    next();
  } catch {
    response.status(401).json({ error: 'unauthenticated' });
  }
}

async function withinLimit(userId: string): Promise<boolean> {
  const key = `baseline:limit:${userId}:${Math.floor(Date.now() / 60_000)}`;
  const replies = await redis.multi().incr(key).expire(key, 60).exec();
  return Number(replies?.[0]?.[1]) <= PER_MINUTE;
}

/** The whole transaction: takes the action, raises the scores, appends to the ledger. No rows when the action was taken before. */
const countOnce = {
  name: 'count-once',
  text: `
    with taken as (
      update baseline.actions set status = 'completed', completed_at = now()
      where id = $1 and user_id = $2 and status = 'started' returning id
    ), scored as (
      insert into baseline.scores as s (board, user_id, score)
      select board, $2, $4 from taken, unnest($3::text[]) as board
      on conflict (user_id, board) do update set score = s.score + excluded.score, updated_at = now()
      returning board, score
    ), entry as (
      insert into baseline.ledger (action_id, user_id, boards, delta, before, after, ip)
      select $1, $2, $3, $4, score - $4, score, $5 from scored where board = ($3::text[])[1]
    )
    select board, score from scored`,
};

/** What one transaction does: the scores by board; undefined when the action counts already, or is not the user's. */
async function count(
  actionId: string,
  userId: string,
  boards: readonly string[],
  points: number,
  ip: string,
): Promise<Map<string, number> | undefined> {
  const { rows } = await pool.query<{ board: string; score: string }>({
    ...countOnce,
    values: [actionId, userId, boards, points, ip],
  });
  return rows.length === 0 ? undefined : new Map(rows.map(({ board, score }) => [board, Number(score)]));
}

const app = express();
app.disable('x-powered-by');
app.use(express.json({ limit: '16kb' }));

app.post('/api/v1/actions', authenticate, async (request, response) => {
  const userId = String(response.locals['userId']);
  const { type, leaderboard = 'global' } = request.body as { type?: string; leaderboard?: string };
  const points = pointsOf[type ?? ''];
  if (type === undefined || points === undefined) {
    response.status(400).json({ error: 'unknown action type' });
    return;
  }
  const actionId = randomUUID();
  await pool.query({
    name: 'start',
    text: 'insert into baseline.actions (id, user_id, type, points) values ($1, $2, $3, $4)',
    values: [actionId, userId, type, points],
  });
  const actionToken = jwt.sign({ jti: actionId, sub: userId, points, leaderboard }, actionKey, {
    expiresIn: TOKEN_SECONDS,
  });
  response.status(201).json({ actionId, type, points, actionToken, status: 'started' });
});

app.post('/api/v1/actions/:actionId/complete', authenticate, async (request, response) => {
  const userId = String(response.locals['userId']);
  const { actionToken } = request.body as { actionToken?: string };
  let claims: jwt.JwtPayload;
  try {
    claims = jwt.verify(actionToken ?? '', actionKey, { algorithms: ['HS256'] }) as jwt.JwtPayload;
  } catch {
    response.status(403).json({ error: 'bad action token' });
    return;
  }
  const { actionId } = request.params;
  if (actionId === undefined || claims.jti !== actionId || claims.sub !== userId) {
    response.status(403).json({ error: 'not your action' });
    return;
  }
  if (!(await withinLimit(userId))) {
    response.status(429).json({ error: 'too many completions' });
    return;
  }
  const points = Number(claims['points']);
  const boards = boardsOf(String(claims['leaderboard']));
  const scores = await count(actionId, userId, boards, points, request.ip ?? '');
  if (!scores) {
    response.status(409).json({ error: 'completed already' });
    return;
  }
  const own = boards[0] ?? '';
  // The last writer reads the score back: absolute, and never lower, since scores only rise.
  await Promise.all(boards.map((board) => redis.zadd(keyOf(board), 'GT', scores.get(board) ?? 0, userId)));
  const [rank, tops] = await Promise.all([
    redis.zrevrank(keyOf(own), userId),
    Promise.all(boards.map(top10)),
  ]);
  const updates = tops.flatMap((entries, i) =>
    entries.some((entry) => entry.userId === userId) ? [JSON.stringify({ board: boards[i], entries })] : [],
  );
  await Promise.all(updates.map((update) => redis.publish(UPDATES, update)));
  const current = scores.get(own) ?? 0;
  response.json({
    actionId,
    status: 'completed',
    score: { previous: current - points, current, delta: points },
    rank: rank === null ? null : rank + 1,
  });
});

app.get('/api/v1/leaderboards/:key', async (request, response) => {
  response.json({ entries: await top10(request.params.key) });
});

app.get('/readyz', async (_request, response) => {
  await Promise.all([pool.query('select 1'), redis.ping()]);
  response.json({ status: 'ready' });
});

app.use((error: unknown, _request: Request, response: Response, next: NextFunction) => {
  if (response.headersSent) {
    next(error);
    return;
  }
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  response.status(500).json({ error: 'internal' });
});

const processes = Number(env('BASELINE_PROCESSES'));
if (cluster.isPrimary && processes > 1) {
  for (let i = 0; i < processes; i += 1) cluster.fork();
  process.once('SIGTERM', () => {
    for (const child of Object.values(cluster.workers ?? {})) child?.kill('SIGTERM');
    void Promise.all([pool.end(), redis.quit()]);
  });
} else {
  const server = app.listen(Number(env('PORT')), env('HOST'));
  process.once('SIGTERM', () => {
    server.close(() => {
      void pool.end().then(() => redis.quit());
      if (cluster.isWorker) process.disconnect();
    });
    server.closeAllConnections();
  });
}
