/** Why a connection or a request of one was refused; the codes are those of the HTTP API. */
const refusals = {
  INVALID_REQUEST: [400, 'The request is not valid'],
  UNAUTHENTICATED: [401, 'Authentication is required'],
  TOKEN_EXPIRED: [401, 'The access token has expired'],
  FORBIDDEN: [403, 'Not allowed'],
  USER_BANNED: [403, 'The user is banned'],
  USER_NOT_FOUND: [404, 'Unknown user'],
  LEADERBOARD_NOT_FOUND: [404, 'Unknown leaderboard'],
  METHOD_NOT_ALLOWED: [405, 'The method is not allowed here'],
  RATE_LIMITED: [429, 'Too many requests'],
  UNAVAILABLE: [503, 'Temporarily unavailable'],
} as const satisfies Record<string, readonly [number, string]>;
export type RefusalCode = keyof typeof refusals;

export interface RefusalOptions {
  /** when to come again, milliseconds */
  readonly retryAfterMs?: number;
  readonly errors?: readonly { path: string; message: string }[];
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
    return refusals[this.code][0];
  }

  get retryAfterMs(): number | undefined {
    return this.options.retryAfterMs ?? (this.code === 'UNAVAILABLE' ? 2000 : undefined);
  }

  /** The body of an HTTP answer (RFC 9457). @param instance the path of the request */
  toProblem(instance: string): Record<string, unknown> {
    return {
      type: `about:blank#${this.code.toLowerCase().replaceAll('_', '-')}`,
      title: refusals[this.code][1],
      status: this.status,
      detail: this.message,
      instance,
      code: this.code,
      ...(this.options.errors && { errors: this.options.errors }),
    };
  }
}
