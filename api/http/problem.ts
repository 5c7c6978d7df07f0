import { problemBody, problems, type FieldError, type ProblemCode } from '../../common/problems.ts';

export type { FieldError, ProblemCode };

export interface ProblemOptions {
  readonly errors?: readonly FieldError[];
  /** seconds, >= 1; 429 and 503 always carry one */
  readonly retryAfter?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** further members of the body */
  readonly members?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
  /** one of very many, which are counted and not logged one by one */
  readonly quiet?: boolean;
  /** for the security log alone, never for the client */
  readonly security?: {
    /** instead of the event that the code stands for */
    readonly event?: string;
    /** whom it concerns, where the request itself does not tell */
    readonly userId?: string;
    readonly reason?: string;
  };
}

/** An answer to a request that cannot be fulfilled, in the form of RFC 9457. The detail says what to do next. */
export class Problem extends Error {
  override readonly name = 'Problem';
  readonly code: ProblemCode;
  readonly status: number;
  readonly options: ProblemOptions;

  constructor(code: ProblemCode, detail: string, options: ProblemOptions = {}) {
    super(detail, { cause: options.cause });
    this.code = code;
    this.status = problems[code].status;
    this.options = options;
  }

  /** @param instance the path of the request */
  toBody(instance: string): Record<string, unknown> {
    const { errors, members } = this.options;
    return problemBody(this.code, this.message, instance, { ...members, errors });
  }

  get headers(): Record<string, string> {
    const retryAfter =
      this.options.retryAfter ?? (this.status === 429 || this.status === 503 ? 1 : undefined);
    return {
      ...this.options.headers,
      ...(retryAfter !== undefined && { 'Retry-After': String(Math.max(1, Math.ceil(retryAfter))) }),
    };
  }
}

/** A store is away; nothing is lost, and the same request may be sent again. */
export const unavailable = (what: string, cause?: unknown): Problem =>
  new Problem('UNAVAILABLE', `${what} Nothing is lost: send the same request again in a moment.`, {
    retryAfter: 1,
    cause,
  });
