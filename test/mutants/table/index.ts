import type { Mutant } from '../mutant.ts';
import { api } from './api.ts';
import { database } from './database.ts';
import { workers } from './workers.ts';

/** Every fault that is planted, by the part of the project in which it stands. */
export const mutants: readonly Mutant[] = [...api, ...workers, ...database];
