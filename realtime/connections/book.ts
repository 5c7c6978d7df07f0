import { randomBytes } from 'node:crypto';
import type { Logger } from '../../common/logger.ts';
import { loadScript, scriptCaller, type Redis } from '../../common/redis.ts';

const script = loadScript(new URL('lua/enter.lua', import.meta.url));

/** Connections are heard of this often, and forgotten after as many milliseconds without. */
const HEARTBEAT_MS = 20_000;
const LIFETIME_MS = 60_000;
/** Connections in one call: a command for each would cost megabytes at every heartbeat. */
const CHUNK = 100;

interface Line {
  readonly userId: string;
  /** as the book names it; '' until it answered */
  member: string;
}

/**
 * The users' connections over all instances, in Redis. It mends itself: every instance says again and again which ones
 * it has, so that an emptied Redis is told anew, and an instance that died is forgotten: at once when its connection to
 * Redis has ended, else after a while. While Redis is away nobody is closed.
 */
export class ConnectionBook {
  readonly #instance = randomBytes(6).toString('hex');
  readonly #redis: Redis;
  readonly #scripts: ReturnType<typeof scriptCaller>;
  readonly #limit: number;
  readonly #log: Logger;
  readonly #close: (socketId: string) => void;
  readonly #lines = new Map<string, Line>();
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param subscriber a connection that subscribes anew by itself
   * @param limit connections a user may have; 0 = any number
   * @param close closes a connection wherever it is
   */
  constructor(
    redis: Redis,
    subscriber: Redis,
    limit: number,
    log: Logger,
    close: (socketId: string) => void,
  ) {
    this.#redis = redis;
    this.#scripts = scriptCaller(redis, [script]);
    this.#limit = limit;
    this.#log = log;
    this.#close = close;
    if (limit === 0) return;
    // Nothing is said there, but an instance that listens is alive.
    subscriber.subscribe(redis.names.instances + this.#instance).catch((error: unknown) => {
      log.warn({ err: error }, 'connections of this instance may not be counted');
    });
    this.#timer = setInterval(() => void this.heartbeat(), HEARTBEAT_MS).unref();
  }

  /** Writes a connection down, and has the oldest of the user's closed if there are too many. */
  async enter(userId: string, socketId: string): Promise<void> {
    if (this.#limit === 0) return;
    this.#lines.set(socketId, { userId, member: '' });
    await this.#tell([socketId]);
  }

  leave(socketId: string): void {
    const line = this.#lines.get(socketId);
    this.#lines.delete(socketId);
    if (line?.member)
      this.#redis.zrem(this.#redis.names.connections(line.userId), line.member).catch(() => undefined);
  }

  /** Says which connections are still there. */
  async heartbeat(): Promise<void> {
    const all = [...this.#lines.keys()];
    for (let i = 0; i < all.length; i += CHUNK) await this.#tell(all.slice(i, i + CHUNK));
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #tell(socketIds: readonly string[]): Promise<void> {
    const lines = socketIds.flatMap((socketId) => {
      const line = this.#lines.get(socketId);
      return line ? [{ socketId, line }] : [];
    });
    try {
      const replies = (await this.#scripts.call(
        script,
        lines.length,
        ...lines.map(({ line }) => this.#redis.names.connections(line.userId)),
        this.#instance,
        this.#limit,
        LIFETIME_MS,
        this.#redis.names.instances,
        ...lines.flatMap(({ socketId, line }) => [socketId, line.member]),
      )) as string[][];
      lines.forEach(({ socketId, line }, i) => {
        const [member = line.member, ...closed] = replies[i] ?? [];
        line.member = member;
        // It was closed while the book was being written.
        if (!this.#lines.has(socketId))
          this.#redis.zrem(this.#redis.names.connections(line.userId), member).catch(() => undefined);
        for (const old of closed) this.#close(old);
      });
    } catch (error) {
      this.#log.debug({ err: error }, 'connections could not be written down yet');
    }
  }
}
