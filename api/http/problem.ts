/** Every error code that clients may see, with its status and title. Codes are stable; details are for people. */
export const problems = {
  INVALID_REQUEST: [400, 'The request is not valid'],
  UNKNOWN_ACTION_TYPE: [400, 'Unknown action type'],
  UNKNOWN_LEADERBOARD: [400, 'Unknown leaderboard'],
  ACTION_TOKEN_MALFORMED: [400, 'The action token is malformed'],
  UNAUTHENTICATED: [401, 'Authentication is required'],
  TOKEN_EXPIRED: [401, 'The access token has expired'],
  BAD_CREDENTIALS: [401, 'Wrong user name or password'],
  REFRESH_TOKEN_REUSED: [401, 'The refresh token was used before'],
  FORBIDDEN: [403, 'Not allowed'],
  USER_BANNED: [403, 'The user is banned'],
  ACTION_TOKEN_INVALID: [403, 'The action token is not valid'],
  ACTION_TOKEN_EXPIRED: [403, 'The action token has expired'],
  ACTION_TOKEN_NOT_YOURS: [403, 'The action token belongs to another user'],
  SIGNATURE_INVALID: [403, 'The signature is not valid'],
  TIMESTAMP_OUT_OF_RANGE: [403, 'The timestamp is too far from now'],
  CLIENT_SIGNING_OFF: [403, 'Client-signed completions are off'],
  VERIFICATION_REQUIRED: [403, 'Verification is required'],
  NOT_FOUND: [404, 'There is nothing at this address'],
  USER_NOT_FOUND: [404, 'Unknown user'],
  ACTION_NOT_FOUND: [404, 'Unknown action'],
  LEADERBOARD_NOT_FOUND: [404, 'Unknown leaderboard'],
  METHOD_NOT_ALLOWED: [405, 'The method is not allowed here'],
  ACTION_ALREADY_COMPLETED: [409, 'The action was completed before'],
  ACTION_IN_PROGRESS: [409, 'The action is being completed'],
  ACTION_CANCELLED: [409, 'The action was cancelled'],
  ACTION_ID_TAKEN: [409, 'The action id is taken'],
  LEADERBOARD_CLOSED: [409, 'The leaderboard is closed'],
  IDEMPOTENCY_KEY_REUSED: [409, 'The idempotency key was used for another request'],
  USERNAME_TAKEN: [409, 'The user name is taken'],
  EMAIL_TAKEN: [409, 'The e-mail address is taken'],
  PAYLOAD_TOO_LARGE: [413, 'The body is too large'],
  UNSUPPORTED_MEDIA_TYPE: [415, 'The body must be JSON'],
  ACTION_TOO_FAST: [422, 'The action was completed too fast'],
  ACTION_REJECTED: [422, 'The action was rejected'],
  RATE_LIMITED: [429, 'Too many requests'],
  TOO_MANY_OPEN_ACTIONS: [429, 'Too many open actions'],
  INTERNAL_ERROR: [500, 'Something went wrong'],
  UNAVAILABLE: [503, 'Temporarily unavailable'],
} as const satisfies Record<string, readonly [number, string]>;

export type ProblemCode = keyof typeof problems;

/** One fault in a request: where it is, and what is wrong. */
export interface FieldError {
  readonly path: string;
  readonly message: string;
}

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
    this.status = problems[code][0];
    this.options = options;
  }

  /** @param instance the path of the request */
  toBody(instance: string): Record<string, unknown> {
    return {
      type: `about:blank#${this.code.toLowerCase().replaceAll('_', '-')}`,
      title: problems[this.code][1],
      status: this.status,
      detail: this.message,
      instance,
      code: this.code,
      ...(this.options.errors && { errors: this.options.errors }),
      ...this.options.members,
    };
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
