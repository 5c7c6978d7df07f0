import { createHmac, randomUUID } from 'node:crypto';
import { request } from 'undici';

/** An answer of the API as a test sees it. */
export interface Answer {
  readonly status: number;
  // Tests look into bodies of every kind, and fail when a member is not there.
  readonly body: any;
  readonly headers: Record<string, string | string[] | undefined>;
}

/** Writes that need an `Idempotency-Key`: each gets one of its own here, unless a test gives one. */
const needsKey = /^\/admin\/(users\/[^/]+\/adjustments|transactions\/[^/]+\/rollback)$/;

/** Sends one request to the API, below /api/v1 unless the path is absolute (begins with two slashes). */
export async function call(
  base: string,
  method: string,
  path: string,
  options: { token?: string | undefined; body?: unknown; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const url = path.startsWith('//') ? base + path.slice(1) : `${base}/api/v1${path}`;
  const response = await request(url, {
    method: method as 'GET',
    headers: {
      ...(options.body !== undefined && { 'content-type': 'application/json' }),
      ...(options.token !== undefined && { authorization: `Bearer ${options.token}` }),
      ...(needsKey.test(path) && { 'idempotency-key': randomUUID() }),
      ...options.headers,
    },
    ...(options.body !== undefined && {
      body: typeof options.body === 'string' ? options.body : JSON.stringify(options.body),
    }),
  });
  const text = await response.body.text();
  let body: unknown = text;
  try {
    body = text === '' ? undefined : JSON.parse(text);
  } catch {
    // Not JSON: the text itself.
  }
  return { status: response.statusCode, body, headers: response.headers };
}

interface SignedOptions {
  readonly timestamp?: string;
  readonly headers?: Record<string, string>;
}

let made = 0;

/** A registered and signed-in player, who can act. */
export class Player {
  readonly userId: string;
  readonly username: string;
  readonly token: string;
  readonly refreshToken: string;
  readonly signingKey: string;

  private constructor(grant: {
    user: { userId: string; username: string };
    accessToken: string;
    refreshToken: string;
    signingKey: string;
  }) {
    this.userId = grant.user.userId;
    this.username = grant.user.username;
    this.token = grant.accessToken;
    this.refreshToken = grant.refreshToken;
    this.signingKey = grant.signingKey;
  }

  static async join(api: string, name = `player${process.pid}x${(made += 1)}`): Promise<Player> {
    const registered = await call(api, 'POST', '/auth/register', {
      body: { username: name, email: `${name}@example.org`, password: 'correct horse battery' },
    });
    if (registered.status !== 201)
      throw new Error(`register: ${registered.status} ${JSON.stringify(registered.body)}`);
    return Player.signIn(api, name, 'correct horse battery');
  }

  static async signIn(api: string, username: string, password: string): Promise<Player> {
    const login = await call(api, 'POST', '/auth/login', { body: { username, password } });
    if (login.status !== 200) throw new Error(`login: ${login.status} ${JSON.stringify(login.body)}`);
    return new Player(login.body);
  }

  start(api: string, type = 'COMPLETE_TASK', leaderboard?: string): Promise<Answer> {
    return call(api, 'POST', '/actions', {
      token: this.token,
      body: { type, ...(leaderboard !== undefined && { leaderboard }) },
    });
  }

  complete(
    api: string,
    action: { actionId: string; actionToken: string },
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    return call(api, 'POST', `/actions/${action.actionId}/complete`, {
      token: this.token,
      body: { actionToken: action.actionToken },
      headers,
    });
  }

  /** Completes an action that the player's game made up, and signed by itself. */
  completeSigned(
    api: string,
    actionId: string,
    { timestamp = new Date().toISOString(), headers = {} }: SignedOptions = {},
  ): Promise<Answer> {
    const type = 'COMPLETE_TASK';
    const signature = createHmac('sha256', this.signingKey)
      .update([actionId, type, 'global', timestamp].join('.'))
      .digest('hex');
    return call(api, 'POST', '/completions', {
      token: this.token,
      body: { actionId, type, timestamp, signature },
      headers,
    });
  }

  /** Starts and completes one action. @returns the answer to the completion */
  async play(api: string, type = 'COMPLETE_TASK', leaderboard?: string): Promise<Answer> {
    const started = await this.start(api, type, leaderboard);
    if (started.status !== 201) return started;
    return this.complete(api, started.body);
  }
}
