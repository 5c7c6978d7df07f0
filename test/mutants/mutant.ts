/** A fault of one or two lines in a rule, and the test files that must notice it. */
export interface Mutant {
  /** the source file, from the project's root */
  readonly file: string;
  /** text that stands in the file exactly once */
  readonly search: string;
  readonly replace: string;
  /** what a user would see of it */
  readonly breaks: string;
  /** files that must fail while the fault is planted */
  readonly tests: readonly string[];
  /** text in the full name of the tests that must notice it; all tests of the files are run without it */
  readonly grep?: string;
  /** why no test can notice it, where that is so: it is listed, and not counted */
  readonly unnoticeable?: string;
}

export type Verdict = 'noticed' | 'survived' | 'invalid' | 'unnoticeable';
