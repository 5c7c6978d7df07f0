import { Readable } from 'node:stream';
import type { Config } from '../../common/config.ts';
import type { Database } from '../../common/postgres.ts';
import type { Redis } from '../../common/redis.ts';
import { Problem, unavailable } from '../http/problem.ts';
import { exportPersonalData } from './personal-data.ts';

const DAY_S = 86_400;
/** Exports that one process streams at a time. */
const AT_ONCE = 3;
/** A user's turn ends this long after the last piece: a process that was killed, or a client that stopped reading, seconds. */
const TURN_S = 30;

interface ExportDeps {
  /** the pool of reads */
  readonly db: Database;
  readonly redis: Redis;
  readonly config: Pick<Config, 'RATE_LIMIT_EXPORTS_PER_DAY'>;
  /** for how long a client may take nothing, seconds */
  readonly patienceS?: number;
}

/** Exports of personal data: one at a time a user, a few at a time a process, and so many a day. */
export class Exports {
  readonly #deps: ExportDeps;
  #running = 0;

  constructor(deps: ExportDeps) {
    this.#deps = deps;
  }

  /** @returns the export as a stream @throws RATE_LIMITED or UNAVAILABLE, with when to come again */
  async open(userId: string): Promise<Readable> {
    if (this.#running >= AT_ONCE) {
      throw new Problem(
        'UNAVAILABLE',
        'Too many exports are running. Send the same request again in a moment.',
        {
          retryAfter: 5,
          quiet: true,
        },
      );
    }
    this.#running += 1;
    try {
      await this.#takeTurn(userId);
    } catch (error) {
      this.#running -= 1;
      throw error instanceof Problem
        ? error
        : unavailable('The limits of exports cannot be checked right now.', error);
    }
    const stream: Readable = Readable.from(
      this.#pieces(userId, () => patience.refresh()),
      { objectMode: false, highWaterMark: 65_536 },
    );
    // Three who stopped reading would keep everybody else's from being made.
    const patience = setTimeout(
      () => stream.destroy(Object.assign(new Error('an export was not taken'), { code: 'ETIMEDOUT' })),
      (this.#deps.patienceS ?? TURN_S) * 1000,
    ).unref();
    stream.once('close', () => {
      clearTimeout(patience);
      this.#running -= 1;
      void this.#deps.redis.del(this.#turn(userId)).catch(() => undefined);
    });
    return stream;
  }

  async *#pieces(userId: string, onPiece: () => void): AsyncGenerator<string> {
    const { db, redis } = this.#deps;
    try {
      for await (const piece of exportPersonalData(db, userId)) {
        void redis.expire(this.#turn(userId), TURN_S).catch(() => undefined);
        onPiece();
        yield piece;
      }
    } catch (error) {
      // By its code alone it could be the client's connection that broke.
      throw new Error('an export broke off', { cause: error });
    }
  }

  #turn(userId: string): string {
    return `${this.#deps.redis.names.limits(userId)}:export`;
  }

  async #takeTurn(userId: string): Promise<void> {
    const { redis, config } = this.#deps;
    const turn = this.#turn(userId);
    if ((await redis.set(turn, '1', 'EX', TURN_S, 'NX')) === null) {
      throw new Problem('RATE_LIMITED', 'An export of yours is running. Wait for its end.', {
        retryAfter: 5,
        security: { reason: 'limited: export' },
      });
    }
    const limit = config.RATE_LIMIT_EXPORTS_PER_DAY;
    if (limit === 0) return;
    const count = `${redis.names.limits(userId)}:exports`;
    const made = await redis.incr(count);
    if (made === 1) await redis.expire(count, DAY_S);
    if (made <= limit) return;
    const left = await redis.ttl(count);
    await redis.del(turn);
    throw new Problem('RATE_LIMITED', `The limit is ${limit} exports a day.`, {
      retryAfter: left > 0 ? left : DAY_S,
      security: { reason: 'limited: export' },
    });
  }
}
