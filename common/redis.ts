import { readFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { circuitBreaker, ConsecutiveBreaker, handleAll, type CircuitBreakerPolicy } from 'cockatiel';
import { Redis as Client, type RedisOptions } from 'ioredis';
import type { Logger } from './logger.ts';
import { RedisNames } from './redis-names.ts';
import { isUnusable, unusableKeys } from './redis-unusable.ts';

/** A connection to Redis that knows what its installation's keys and channels are called. */
export class Redis extends Client {
  readonly names: RedisNames;

  constructor(url: string, options: Omit<RedisOptions, 'replyMapping'> = {}, prefix?: string) {
    super(url, options);
    this.names = new RedisNames(prefix);
  }
}

const reconnect = (attempt: number): number => Math.min(50 * 2 ** Math.min(attempt, 5), 1000);

/**
 * How long a command may take before its caller gives up, milliseconds. A frozen Redis would hang it for ever. A read asks
 * Redis three times at most (who is it, is it within the limits, the board), and must be answered within 4 s all the same.
 */
const COMMAND_TIMEOUT_MS = 1000;

const options = {
  /** Fails at once while Redis is away: the caller has a fall-back, or an honest 503. For BullMQ's producers, too. */
  commands: { enableOfflineQueue: false, maxRetriesPerRequest: 0, commandTimeout: COMMAND_TIMEOUT_MS },
  /** For BullMQ workers, which block on purpose and wait for Redis as long as it takes. */
  blocking: { maxRetriesPerRequest: null },
  /** Subscribes anew by itself after every reconnection. */
  subscriber: { maxRetriesPerRequest: null, autoResubscribe: true },
} satisfies Record<string, Partial<RedisOptions>>;

/**
 * A connection to Redis, made for one kind of use. Connects in the background and for ever tries again; errors are
 * logged when the state changes, not at every attempt.
 *
 * @param prefix REDIS_PREFIX: what the names of this installation begin with
 */
export function createRedis(url: string, use: keyof typeof options, log: Logger, prefix?: string): Redis {
  const onUnusable = unusableKeys(log);
  const redis = new Redis(
    url,
    {
      ...options[use],
      retryStrategy: reconnect,
      connectTimeout: 2000,
      keepAlive: 5000,
      // It hears of every error that Redis answers; none of them is a reason to reconnect.
      reconnectOnError: (error) => {
        onUnusable(redis, error);
        return false;
      },
    },
    prefix,
  );
  redis.on('connect', () => gatherWrites(redis.stream));
  let away = false;
  redis.on('error', (error: Error) => {
    if (!away) log.warn({ err: error, use }, 'Redis is away');
    away = true;
  });
  redis.on('ready', () => {
    if (away) log.info({ use }, 'Redis is back');
    away = false;
  });
  return redis;
}

/** A turn under load writes a hundred: Redis works on the first of them while the process is still busy with the rest. */
const COMMANDS_A_WRITE = 16;

/**
 * Lets commands of one turn of the event loop leave together. ioredis writes each by itself, and a system call costs many
 * times what a command does.
 */
function gatherWrites(socket: Duplex): void {
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean;
  let gathered = 0;
  const flush = (): void => {
    if (gathered > 0) socket.uncork();
    gathered = 0;
  };
  socket.write = (...args: unknown[]): boolean => {
    if (gathered === 0) {
      socket.cork();
      setImmediate(flush);
    }
    const hasRoom = write(...args);
    gathered += 1;
    if (gathered === COMMANDS_A_WRITE) flush();
    return hasRoom;
  };
}

const FAILURES_THAT_OPEN = 3;
const REST_MS = 1000;

/**
 * For readers that have a fall-back: after a few failures in a row Redis is not asked for a second, so that they do not each
 * wait for its time-out.
 */
export const redisBreaker = (): CircuitBreakerPolicy =>
  circuitBreaker(handleAll, { halfOpenAfter: REST_MS, breaker: new ConsecutiveBreaker(FAILURES_THAT_OPEN) });

/** Waits until a connection is ready. @throws when it is not within the time, milliseconds. */
export async function untilReady(redis: Redis, timeoutMs: number): Promise<void> {
  if (redis.status === 'ready') return;
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      redis.off('ready', done);
      reject(
        new Error(`Redis did not answer within ${timeoutMs} ms. Check REDIS_URL, and that Redis is running.`),
      );
    }, timeoutMs);
    const done = (): void => {
      clearTimeout(timer);
      resolve();
    };
    redis.once('ready', done);
  });
}

/** The run of the server that answers: another one after every restart and fail-over. @throws when Redis is away */
export async function serverRun(redis: Redis): Promise<string> {
  return /run_id:(\w+)/.exec(await redis.info('server'))?.[1] ?? '';
}

/** Closes a connection in order if it stands, else at once. */
export async function closeRedis(redis: Redis): Promise<void> {
  if (redis.status === 'ready') await redis.quit().catch(() => redis.disconnect());
  else redis.disconnect();
}

const passingReplies = /^(LOADING|BUSY|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|OOM|MISCONF|NOREPLICAS)/;
const absent =
  /Command timed out|Connection is closed|connection close|isn't writeable|max retries per request|ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|connect ETIMEDOUT|Socket closed/i;

/** Whether Redis is away, frozen or starting, or drops a key that it cannot use, so that the same command may well succeed later. */
export function isRedisAway(error: unknown): boolean {
  return (
    error instanceof Error &&
    (absent.test(error.message) || passingReplies.test(error.message) || isUnusable(error))
  );
}

/** A Lua script that Redis runs atomically, called by its digest, and sent whole only when Redis does not know it. */
export interface Script {
  readonly name: string;
  readonly lua: string;
  /** how many of the arguments are keys; when not set, the first argument says it */
  readonly keys: number | undefined;
}

/** Reads a script that stands in a `.lua` file of its own. */
export function loadScript(url: URL, keys?: number): Script {
  const name = `laurel_${url.pathname.split('/').at(-1)?.replace('.lua', '') ?? ''}`;
  return { name, lua: readFileSync(url, 'utf8'), keys };
}

type Callable = Record<string, (...args: (string | number)[]) => Promise<unknown>>;

/** Teaches a connection its scripts, and returns a function that calls one. Replies are as raw as Redis sends them. */
export function scriptCaller(redis: Redis, scripts: readonly Script[]) {
  for (const { name, lua, keys } of scripts)
    redis.defineCommand(name, { lua, ...(keys !== undefined && { numberOfKeys: keys }) });
  return {
    call: (script: Script, ...args: (string | number)[]): Promise<unknown> => {
      const method = (redis as unknown as Callable)[script.name];
      if (!method) throw new Error(`script ${script.name} was not defined on this connection`);
      return method.call(redis, ...args);
    },
    /** Calls scripts in one round trip, in order. @throws the first error of any of them */
    pipeline: async (calls: readonly (readonly [Script, ...(string | number)[]])[]): Promise<unknown[]> => {
      const pipeline = redis.pipeline();
      for (const [script, ...args] of calls) {
        // The pipeline gathers the call; its reply comes with exec.
        void (pipeline as unknown as Callable)[script.name]?.call(pipeline, ...args);
      }
      return unwrap(await pipeline.exec());
    },
  };
}

/** The replies of a pipeline. @throws the first error among them */
export function unwrap(replies: [Error | null, unknown][] | null): unknown[] {
  if (!replies) throw new Error('the pipeline was discarded');
  return replies.map(([error, reply]) => {
    if (error) throw error;
    return reply;
  });
}
