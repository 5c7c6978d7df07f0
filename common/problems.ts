/** An error that clients may see. */
interface ProblemKind {
  /** HTTP status */
  readonly status: number;
  readonly title: string;
  /** what a client or its developer does about it; shown on the page of all codes */
  readonly advice: string;
}

/**
 * Every error code that clients may see, over HTTP and over sockets. Codes are stable; a code that is not here cannot be
 * sent. The page `/docs/problems` and the OpenAPI document are made from this table.
 */
export const problems = {
  INVALID_REQUEST: {
    status: 400,
    title: 'The request is not valid',
    advice: 'Correct the fields that `errors` names. The same request will fail again.',
  },
  UNKNOWN_ACTION_TYPE: {
    status: 400,
    title: 'Unknown action type',
    advice: 'Use a type that the operators have defined. Keys are case-sensitive.',
  },
  UNKNOWN_LEADERBOARD: {
    status: 400,
    title: 'Unknown leaderboard',
    advice: 'Use a leaderboard that `GET /leaderboards` lists and that takes this action type.',
  },
  ACTION_TOKEN_MALFORMED: {
    status: 400,
    title: 'The action token is malformed',
    advice: 'Send `actionToken` exactly as the start of the action returned it.',
  },
  UNAUTHENTICATED: {
    status: 401,
    title: 'Authentication is required',
    advice: 'Sign in, and send the access token as `Authorization: Bearer <token>`.',
  },
  TOKEN_EXPIRED: {
    status: 401,
    title: 'The access token has expired',
    advice: 'Refresh the token with `POST /auth/refresh`, and send the request again once.',
  },
  BAD_CREDENTIALS: {
    status: 401,
    title: 'Wrong user name or password',
    advice: 'Ask the player for the user name and password again.',
  },
  REFRESH_TOKEN_REUSED: {
    status: 401,
    title: 'The refresh token was used before',
    advice: 'The login was ended, because two parties hold its token. Sign in again.',
  },
  FORBIDDEN: {
    status: 403,
    title: 'Not allowed',
    advice: 'The account may not do this. Sign in with one that may.',
  },
  USER_BANNED: {
    status: 403,
    title: 'The user is banned',
    advice: 'Do not retry. The player can contact the game’s support.',
  },
  ACTION_TOKEN_INVALID: {
    status: 403,
    title: 'The action token is not valid',
    advice: 'Send the token of this action, unchanged, or start a new action.',
  },
  ACTION_TOKEN_EXPIRED: {
    status: 403,
    title: 'The action token has expired',
    advice: 'Start a new action, and complete it before its `expiresAt`.',
  },
  ACTION_TOKEN_NOT_YOURS: {
    status: 403,
    title: 'The action token belongs to another user',
    advice: 'Complete the action as the user who started it.',
  },
  SIGNATURE_INVALID: {
    status: 403,
    title: 'The signature is not valid',
    advice: 'Sign `actionId.type.leaderboard.timestamp` with the `signingKey` of the present login.',
  },
  TIMESTAMP_OUT_OF_RANGE: {
    status: 403,
    title: 'The timestamp is too far from now',
    advice: 'Send a timestamp within 5 minutes of the server’s time; the `Date` header tells it.',
  },
  CLIENT_SIGNING_OFF: {
    status: 403,
    title: 'Client-signed completions are off',
    advice:
      'Start the action and complete it with its token, or have an operator set `clientSigned` of the type.',
  },
  VERIFICATION_REQUIRED: {
    status: 403,
    title: 'Verification is required',
    advice: 'Complete an action of this type through the game’s own server.',
  },
  NOT_FOUND: {
    status: 404,
    title: 'There is nothing at this address',
    advice: 'Check the path; `/openapi.json` lists the routes.',
  },
  USER_NOT_FOUND: {
    status: 404,
    title: 'Unknown user',
    advice: 'Check the user id. A player of an outside identity service must be registered first.',
  },
  ACTION_NOT_FOUND: {
    status: 404,
    title: 'Unknown action',
    advice: 'Check the action id. Players can read their own actions only.',
  },
  LEADERBOARD_NOT_FOUND: {
    status: 404,
    title: 'Unknown leaderboard',
    advice: 'Use a leaderboard and a period that `GET /leaderboards` lists for this caller.',
  },
  METHOD_NOT_ALLOWED: {
    status: 405,
    title: 'The method is not allowed here',
    advice: 'Use a method that the `Allow` header names.',
  },
  ACTION_ALREADY_COMPLETED: {
    status: 409,
    title: 'The action was completed before',
    advice: 'Take `result`: it is the first answer, and the score was counted once.',
  },
  ACTION_IN_PROGRESS: {
    status: 409,
    title: 'The action is being completed',
    advice: 'Read `GET /actions/{actionId}` until the action has ended.',
  },
  ACTION_CANCELLED: {
    status: 409,
    title: 'The action was cancelled',
    advice: 'Start a new action.',
  },
  ACTION_ID_TAKEN: {
    status: 409,
    title: 'The action id is taken',
    advice: 'Make a new UUID, and sign the completion again.',
  },
  LEADERBOARD_CLOSED: {
    status: 409,
    title: 'The leaderboard is closed',
    advice: 'Play on another leaderboard; this one takes no more scores.',
  },
  IDEMPOTENCY_KEY_REUSED: {
    status: 409,
    title: 'The idempotency key was used for another request',
    advice: 'Use a new `Idempotency-Key` for each new request, and the same one only to repeat it unchanged.',
  },
  KEY_TAKEN: {
    status: 409,
    title: 'The key is taken',
    advice: 'Change the definition that has the key, or choose another key.',
  },
  USERNAME_TAKEN: {
    status: 409,
    title: 'The user name is taken',
    advice: 'Ask the player for another user name.',
  },
  EMAIL_TAKEN: {
    status: 409,
    title: 'The e-mail address is taken',
    advice: 'Sign in with the existing account, or use another address.',
  },
  PAYLOAD_TOO_LARGE: {
    status: 413,
    title: 'The body is too large',
    advice: 'Send a smaller body; 16 KB at most.',
  },
  UNSUPPORTED_MEDIA_TYPE: {
    status: 415,
    title: 'The body must be JSON',
    advice: 'Send `Content-Type: application/json`.',
  },
  ACTION_TOO_FAST: {
    status: 422,
    title: 'The action was completed too fast',
    advice: 'Complete the action when it is done; `Retry-After` tells how long its type takes at least.',
  },
  ACTION_REJECTED: {
    status: 422,
    title: 'The action was rejected',
    advice: 'Do not retry: this action will never count. Start a new one.',
  },
  RATE_LIMITED: {
    status: 429,
    title: 'Too many requests',
    advice: 'Wait as long as `Retry-After` says, then send the same request again.',
  },
  TOO_MANY_OPEN_ACTIONS: {
    status: 429,
    title: 'Too many open actions',
    advice: 'Complete or cancel an open action before starting another.',
  },
  INTERNAL_ERROR: {
    status: 500,
    title: 'Something went wrong',
    advice: 'Tell the operator the `X-Request-Id` of the response.',
  },
  UNAVAILABLE: {
    status: 503,
    title: 'Temporarily unavailable',
    advice: 'Wait as long as `Retry-After` says, then send the same request again. Nothing is lost.',
  },
} as const satisfies Record<string, ProblemKind>;

export type ProblemCode = keyof typeof problems;

/** One fault in a request: where it is, and what is wrong. */
export interface FieldError {
  readonly path: string;
  readonly message: string;
}

/** Where the page of all codes is. */
export const PROBLEMS_PAGE = '/docs/problems';

/** The place of a code on the page of all codes, as `rate-limited`. */
export const problemAnchor = (code: ProblemCode): string => code.toLowerCase().replaceAll('_', '-');

/** The body of an error (RFC 9457). @param instance the path of the request */
export function problemBody(
  code: ProblemCode,
  detail: string,
  instance: string,
  members: { readonly errors?: readonly FieldError[] | undefined } & Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  const { errors, ...others } = members;
  return {
    type: `${PROBLEMS_PAGE}#${problemAnchor(code)}`,
    title: problems[code].title,
    status: problems[code].status,
    detail,
    instance,
    code,
    ...(errors && { errors }),
    ...others,
  };
}
