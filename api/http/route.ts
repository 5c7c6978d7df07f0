import type Joi from 'joi';
import type { Knex } from 'knex';
import type { Identity } from '../../common/identity/access-tokens.ts';
import type { UserProfile } from '../../common/users/user-directory.ts';
import type { ProblemCode } from './problem.ts';

/** Who may call a route: anybody; anybody, or readers only where boards are not public; a signed-in user; an administrator. */
export type Access = 'anyone' | 'reader' | 'player' | 'admin';

/** What a request is to the shedding of load, those that are given up first above. Reads without a token tell themselves. */
export type Sacrifice = 'anonymous_read' | 'other' | 'start' | 'signed_completion' | 'completion';

/** A verified caller. */
export interface Caller {
  readonly identity: Identity;
  readonly profile: UserProfile;
}

/** What a handler gets: everything has been checked. */
export interface Input<P = unknown, Q = unknown, B = unknown> {
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  /** undefined for an anonymous caller */
  readonly caller: Caller | undefined;
  readonly ip: string;
  readonly userAgent: string | null;
  header(name: string): string | undefined;
  /** Sets a header of the response, whatever becomes of the request. */
  setHeader(name: string, value: string): void;
  /**
   * Of a route that is `idempotent`: runs the write, its audit lines included, in one transaction together with the request's
   * idempotency key. When the key was used before, it returns what the first transaction returned, and runs nothing.
   *
   * @param work returns JSON
   */
  once<T>(work: (trx: Knex.Transaction) => Promise<T>): Promise<T>;
}

export interface Reply {
  readonly status: number;
  /** JSON, or a body that is ready to be sent as `type` */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether a kept reply to requests without a token is still right. Without this function no reply is kept. */
  readonly stillHolds?: () => boolean;
  /** Of an idempotent route: not the last word. The same request with the same key is answered anew. */
  readonly provisional?: true;
}

/** Headers of responses that are documented. */
export type HeaderName =
  | 'X-Request-Id'
  | 'ETag'
  | 'Location'
  | 'Retry-After'
  | 'Cache-Control'
  | 'RateLimit'
  | 'RateLimit-Policy'
  | 'WWW-Authenticate'
  | 'Allow'
  | 'Content-Disposition';

/** What a route can answer, for its documentation. */
export interface ResponseDoc {
  readonly description: string;
  readonly schema?: Joi.Schema;
  /** headers that it always has, beside those of every response */
  readonly headers?: readonly HeaderName[];
  /** other than JSON */
  readonly contentType?: string;
}

/** One route of the API as a value: what serves it also documents it. */
export interface Route {
  readonly method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  /** below /api/v1, as `/actions/:actionId` */
  readonly path: string;
  readonly operationId: string;
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  readonly access: Access;
  /** a write that takes an `Idempotency-Key`; every write of administrators does */
  readonly idempotent?: 'required' | 'optional';
  /** counts as a read in the rate limits */
  readonly read?: boolean;
  /** how dear it is under overload; `other` when not set */
  readonly sacrifice?: Sacrifice;
  /** Refuses an access token whose login has ended: such a token goes on for play only. */
  readonly openLogin?: true;
  readonly params?: Joi.ObjectSchema;
  readonly query?: Joi.ObjectSchema;
  readonly body?: Joi.ObjectSchema;
  readonly responses: Readonly<Record<number, ResponseDoc>>;
  readonly problems: readonly ProblemCode[];
  readonly handle: (input: Input) => Promise<Reply>;
}

type Schema<T> = Joi.ObjectSchema<T>;
interface TypedRoute<P, Q, B> extends Omit<Route, 'params' | 'query' | 'body' | 'handle'> {
  readonly params?: Schema<P>;
  readonly query?: Schema<Q>;
  readonly body?: Schema<B>;
  readonly handle: (input: Input<P, Q, B>) => Promise<Reply>;
}

/** Declares a route whose handler's input is typed by its schemas. */
export function route<P = unknown, Q = unknown, B = unknown>(definition: TypedRoute<P, Q, B>): Route {
  return definition as unknown as Route;
}

/** The caller of a route that only signed-in users reach. */
export function signedIn(input: { readonly caller: Caller | undefined }): Caller {
  if (!input.caller) throw new Error('a route for signed-in users was reached without one');
  return input.caller;
}
