/**
 * Lines of JSON in which an object has a key twice: written anew they come out shorter, since a reader keeps one of the
 * two.
 */
export const ambiguous = (lines: readonly string[]): string[] =>
  lines.filter((line) => JSON.stringify(JSON.parse(line)).length !== line.trim().length);
