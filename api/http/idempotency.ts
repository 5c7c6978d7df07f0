import { createHash } from 'node:crypto';
import Joi from 'joi';
import type { Knex } from 'knex';
import type { Database } from '../../common/postgres.ts';
import { Problem } from './problem.ts';
import { signedIn, type Input, type Reply, type Route } from './route.ts';

export const IDEMPOTENCY_KEY = 'Idempotency-Key';
/** Visible ASCII characters. */
const idempotencyKey = Joi.string().pattern(/^[\x21-\x7e]{1,128}$/);

interface KeyRow {
  readonly operation: string;
  readonly request_hash: Buffer;
  readonly outcome: unknown;
  readonly status: number | null;
  readonly response: Pick<Reply, 'body' | 'headers'> | null;
}

/** JSON with the members of objects in order, so that the same request is always the same text. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, member: unknown) =>
    typeof member === 'object' && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );

/**
 * Makes writes that carry an `Idempotency-Key` happen once. The key is written in the transaction of the write itself (`input.once`), so
 * that either both are there or neither. The same key and request gets the first answer again. If that answer was lost, or said only that the
 * write is accepted, the handler runs again: `once` then returns what the first transaction returned, and changes nothing.
 */
export class IdempotentWrites {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** @throws INVALID_REQUEST without a key where one is required, IDEMPOTENCY_KEY_REUSED, and what the handler throws */
  async answer(route: Route, input: Input): Promise<Reply> {
    const key = keyOf(route, input);
    if (key === undefined)
      return route.handle({ ...input, once: (work) => this.#db.transaction((trx) => work(trx)) });

    const { params, query, body } = input;
    const request = {
      actor: signedIn(input).profile.userId,
      key,
      operation: route.operationId,
      request_hash: createHash('sha256').update(canonical({ params, query, body })).digest(),
    };
    const first = await this.#find(this.#db, request);
    if (first && first.status !== null) return { status: first.status, ...first.response };

    const reply = await route.handle({ ...input, once: (work) => this.#once(request, work) });
    if (!reply.provisional) await this.#keepAnswer(request, reply);
    return reply;
  }

  async #once<T>(request: Request, work: (trx: Knex.Transaction) => Promise<T>): Promise<T> {
    return this.#db.transaction(async (trx) => {
      // Of two at once the second waits here until the first has ended, and then finds its row.
      const inserted = await trx('idempotency_keys')
        .insert(request)
        .onConflict(['actor', 'key'])
        .ignore()
        .returning('key');
      if (inserted.length === 0) {
        const first = await this.#find(trx, request);
        if (!first) throw new Error('an idempotency key was there and is gone');
        return first.outcome as T;
      }
      const outcome = await work(trx);
      await trx('idempotency_keys')
        .where({ actor: request.actor, key: request.key })
        .update({ outcome: JSON.stringify(outcome ?? null) });
      return outcome;
    });
  }

  /** @throws IDEMPOTENCY_KEY_REUSED when the key stands for another request */
  async #find(db: Knex, { actor, key, operation, request_hash: hash }: Request): Promise<KeyRow | undefined> {
    const row = (await db('idempotency_keys').where({ actor, key }).first()) as KeyRow | undefined;
    if (row && (row.operation !== operation || !row.request_hash.equals(hash))) {
      throw new Problem(
        'IDEMPOTENCY_KEY_REUSED',
        `This ${IDEMPOTENCY_KEY} was sent with another request. Use a new key for each write, and the same one only to repeat it.`,
      );
    }
    return row;
  }

  async #keepAnswer({ actor, key }: Request, { status, body, headers }: Reply): Promise<void> {
    await this.#db('idempotency_keys')
      .where({ actor, key })
      .whereNull('status')
      .update({ status, response: JSON.stringify({ body, headers }) });
  }
}

interface Request {
  readonly actor: string;
  readonly key: string;
  readonly operation: string;
  readonly request_hash: Buffer;
}

function keyOf(route: Route, input: Input): string | undefined {
  const given = input.header(IDEMPOTENCY_KEY);
  const fault =
    given === undefined
      ? route.idempotent === 'required' &&
        'is required: make one for each write, as a UUID, and send it again with a retry'
      : idempotencyKey.validate(given).error && 'must have 1 to 128 visible ASCII characters';
  if (!fault) return given;
  throw new Problem('INVALID_REQUEST', `The header ${IDEMPOTENCY_KEY} ${fault}.`, {
    errors: [{ path: IDEMPOTENCY_KEY, message: fault }],
  });
}
