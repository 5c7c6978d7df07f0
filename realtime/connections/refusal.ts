import { problemBody, problems, type FieldError, type ProblemCode } from '../../common/problems.ts';

/** Why a connection or a request of one was refused; the codes are those of the HTTP API. */
export type RefusalCode = ProblemCode;

export interface RefusalOptions {
  /** when to come again, milliseconds */
  readonly retryAfterMs?: number;
  readonly errors?: readonly FieldError[];
}

/** The detail says what to do next. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly code: RefusalCode;
  readonly options: RefusalOptions;

  constructor(code: RefusalCode, detail: string, options: RefusalOptions = {}) {
    super(detail);
    this.code = code;
    this.options = options;
  }

  get status(): number {
    return problems[this.code].status;
  }

  get retryAfterMs(): number | undefined {
    return this.options.retryAfterMs ?? (this.code === 'UNAVAILABLE' ? 2000 : undefined);
  }

  /** The body of an HTTP answer (RFC 9457). @param instance the path of the request */
  toProblem(instance: string): Record<string, unknown> {
    return problemBody(this.code, this.message, instance, { errors: this.options.errors });
  }
}
