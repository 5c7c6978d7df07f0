import type { Mutant } from './mutant.ts';

/** Every fault that is planted, by the part of the project in which it stands. */
export const mutants: readonly Mutant[] = [
  {
    file: 'workers/completions/lua/settle.lua',
    search: "redis.call('ZREM', KEYS[2 * i], ARGV[2 * i])",
    replace: '',
    breaks: 'a completion does not free its open-action slot',
    tests: ['test/security/limits.test.ts'],
  },
];
