/**
 * The scoreboard that a studio would write by hand: Express, pg and ioredis, everything inside the request. It is correct
 * (a token counts once, Postgres is the truth, one transaction a completion) and written as well as the textbook way
 * allows: pools, one round trip to Redis where one will do, keys prepared once. It has one board and no queue.
 */
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
const pool = new pg.Pool({ connectionString: env('DATABASE_URL'), max: 10 });
const redis = new Redis(env('REDIS_URL'), { enableAutoPipelining: true });

const BOARD = 'baseline:board';
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

async function top10(): Promise<Entry[]> {
  const flat = await redis.zrevrange(BOARD, 0, 9, 'WITHSCORES');
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

/** What one transaction does; undefined when the action counts already, or is not the user's. */
async function count(
  actionId: string,
  userId: string,
  points: number,
  ip: string,
): Promise<{ before: number; after: number } | undefined> {
  const client = await pool.connect();
  try {
    await client.query('begin');
    const taken = await client.query(
      `update baseline.actions set status = 'completed', completed_at = now()
       where id = $1 and user_id = $2 and status = 'started'`,
      [actionId, userId],
    );
    if (taken.rowCount !== 1) {
      await client.query('rollback');
      return undefined;
    }
    const { rows } = await client.query<{ score: string }>(
      `insert into baseline.scores as s (user_id, score) values ($1, $2)
       on conflict (user_id) do update set score = s.score + excluded.score, updated_at = now() returning score`,
      [userId, points],
    );
    const after = Number(rows[0]?.score);
    const before = after - points;
    await client.query(
      `insert into baseline.ledger (action_id, user_id, delta, before, after, ip) values ($1, $2, $3, $4, $5, $6)`,
      [actionId, userId, points, before, after, ip],
    );
    await client.query('commit');
    return { before, after };
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  } finally {
    client.release();
  }
}

const app = express();
app.disable('x-powered-by');
app.use(express.json({ limit: '16kb' }));

app.post('/api/v1/actions', authenticate, async (request, response) => {
  const userId = String(response.locals['userId']);
  const { type } = request.body as { type?: string };
  const points = pointsOf[type ?? ''];
  if (type === undefined || points === undefined) {
    response.status(400).json({ error: 'unknown action type' });
    return;
  }
  const actionId = randomUUID();
  await pool.query('insert into baseline.actions (id, user_id, type, points) values ($1, $2, $3, $4)', [
    actionId,
    userId,
    type,
    points,
  ]);
  const actionToken = jwt.sign({ jti: actionId, sub: userId, points }, actionKey, {
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
  const counted = await count(actionId, userId, points, request.ip ?? '');
  if (!counted) {
    response.status(409).json({ error: 'completed already' });
    return;
  }
  // The score is read back by whoever sets it last: absolute, and never lower, since scores only rise.
  await redis.zadd(BOARD, 'GT', counted.after, userId);
  const [entries, rank] = await Promise.all([top10(), redis.zrevrank(BOARD, userId)]);
  if (entries.some((entry) => entry.userId === userId)) await redis.publish(UPDATES, JSON.stringify(entries));
  response.json({
    actionId,
    status: 'completed',
    score: { previous: counted.before, current: counted.after, delta: points },
    rank: rank === null ? null : rank + 1,
  });
});

app.get('/api/v1/leaderboards/:key', async (_request, response) => {
  response.json({ entries: await top10() });
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

const server = app.listen(Number(env('PORT')), env('HOST'));
process.once('SIGTERM', () => {
  server.close(() => {
    void pool.end().then(() => redis.quit());
  });
  server.closeAllConnections();
});
