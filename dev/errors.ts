/**
 * Something about this machine keeps the embedded stack from running. The message is meant for the person
 * at the keyboard: it says what is wrong and what to do, so print it without a stack.
 */
export class StackError extends Error {
  override name = 'StackError';
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` that Node and Postgres put on their errors: `ENOENT`, `ECONNREFUSED`, `28P01`, ... */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
