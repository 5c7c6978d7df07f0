/** What went wrong, for the person at the terminal: one sentence, and what to do. Printed without a stack. */
export class Failure extends Error {
  override readonly name = 'Failure';
}

/** The first line of what an error says; some libraries leave the message of a failed connection empty. */
export function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return reasonOf(error.errors[0]);
  const text = error instanceof Error ? error.message : String(error);
  return text.split('\n')[0] ?? '';
}
