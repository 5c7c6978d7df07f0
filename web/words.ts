import { LaurelError, type FieldError } from '../client/index.ts';

const NUMBER = new Intl.NumberFormat('en');
const ORDINAL = new Intl.PluralRules('en', { type: 'ordinal' });
const SUFFIX: Partial<Record<Intl.LDMLPluralRule, string>> = { one: 'st', two: 'nd', few: 'rd' };

/** 12,345 */
export function number(value: number): string {
  return NUMBER.format(value);
}

/** 1st, 2nd, 23rd */
export function ordinal(value: number): string {
  return `${number(value)}${SUFFIX[ORDINAL.select(value)] ?? 'th'}`;
}

/** 1 point, 2 points */
export function count(value: number, noun: string): string {
  return `${number(value)} ${noun}${value === 1 ? '' : 's'}`;
}

/** 38 ms, 1.2 s */
export function tookWords(ms: number): string {
  return ms < 1000 ? `${Math.max(1, Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** "4 days", "3 h 12 min", "2 min"; never less than a minute. */
export function spanWords(ms: number): string {
  const minutes = Math.max(1, Math.ceil(ms / 60_000));
  const days = Math.floor(minutes / 1440);
  if (days >= 2) return `${days} days`;
  const hours = Math.floor(minutes / 60);
  if (hours === 0) return `${minutes} min`;
  return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
}

const CLOCK = new Intl.DateTimeFormat('en', { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const DATE = new Intl.DateTimeFormat('en', { day: 'numeric', month: 'long', year: 'numeric' });
/** Boards' periods are days of UTC. */
const UTC_DATE = new Intl.DateTimeFormat('en', {
  day: 'numeric',
  month: 'long',
  year: 'numeric',
  timeZone: 'UTC',
});

/** 14:02, where the visitor is */
export function clockWords(at: number): string {
  return CLOCK.format(at);
}

/** March 2, 2026, where the visitor is */
export function dateWords(at: number): string {
  return DATE.format(at);
}

/** "March 2, 2026", or "March 2 – 8, 2026" for a span whose end is not part of it; in UTC. */
export function spanOfDays(start: number, end: number): string {
  return UTC_DATE.formatRange(start, end - 1);
}

/** A name in a sentence: its own direction does not turn the words around it. */
export function isolated(name: string): string {
  return `\u2068${name}\u2069`;
}

const SENTENCES: Record<string, string> = {
  BAD_CREDENTIALS: 'That user name and password do not match.',
  USERNAME_TAKEN: 'This user name is taken. Try another one.',
  EMAIL_TAKEN: 'There is an account with this e-mail already. Sign in instead?',
  USER_BANNED: 'This account has been suspended.',
  UNAUTHENTICATED: 'Please sign in again.',
  TOKEN_EXPIRED: 'Please sign in again.',
  REFRESH_TOKEN_REUSED: 'Please sign in again.',
  NETWORK_ERROR: 'Cannot reach the service. Check your connection and try again.',
  TIMEOUT: 'The service is slow to answer. If it has counted, your score will show it.',
  UNAVAILABLE: 'The service is taking a short break. Try again in a moment.',
  ACTION_TOO_FAST: 'That was faster than anyone can play. Take your time.',
  ACTION_HELD: 'Accepted. A referee looks at it before it counts.',
  ACTION_REJECTED: 'This action did not pass verification.',
  ACTION_TOKEN_EXPIRED: 'This action took too long and has expired. Start another one.',
  LEADERBOARD_NOT_FOUND: 'There is no such leaderboard.',
  UNKNOWN_LEADERBOARD: 'There is no such leaderboard.',
  LEADERBOARD_CLOSED: 'This board has closed. Nothing counts on it any more.',
  FORBIDDEN: 'Your account may not do this.',
  UNKNOWN_ACTION_TYPE: 'This action is not on offer here.',
  TOO_MANY_OPEN_ACTIONS: 'You have too many unfinished actions. Wait a few minutes.',
};

/** How long to wait (whole seconds), where the error says so. */
export function waitSeconds(error: unknown): number | null {
  if (!(error instanceof LaurelError) || error.status !== 429) return null;
  return Math.max(1, Math.ceil((error.retryAfterMs ?? 10_000) / 1000));
}

const sentence = (text: string): string =>
  `${text.trimStart().charAt(0).toUpperCase()}${text.trimStart().slice(1).replace(/\.$/, '')}.`;

const FIELD_NAMES: Partial<Record<string, string>> = {
  username: 'The user name',
  email: 'The e-mail address',
  password: 'The password',
};

/** What is wrong with one field. */
export function fieldWords({ path, message }: FieldError): string {
  return sentence(`${FIELD_NAMES[path] ?? path} ${message || 'is not valid'}`);
}

/** What went wrong, for people who play. */
export function errorWords(error: unknown): string {
  if (!(error instanceof LaurelError)) return 'Something went wrong. Try again.';
  const wait = waitSeconds(error);
  if (wait !== null) return `Not so fast: try again in ${count(wait, 'second')}.`;
  if (error.code === 'INVALID_REQUEST' && error.errors.length > 0) {
    return error.errors.map(fieldWords).join(' ');
  }
  const words = SENTENCES[error.code];
  if (words) return words;
  if (error.status >= 500) return SENTENCES['UNAVAILABLE'] ?? error.detail;
  return error.detail;
}
