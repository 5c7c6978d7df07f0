import type { Mutant } from '../mutant.ts';
import { api } from './api.ts';
import { cli } from './cli.ts';
import { client } from './client.ts';
import { common } from './common.ts';
import { database } from './database.ts';
import { realtime } from './realtime.ts';
import { web } from './web.ts';
import { workers } from './workers.ts';

/** Every fault that is planted, by the part of the project in which it stands. */
export const mutants: readonly Mutant[] = [
  ...api,
  ...workers,
  ...realtime,
  ...common,
  ...client,
  ...database,
  ...cli,
  ...web,
];
