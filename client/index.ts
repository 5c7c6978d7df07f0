export { LaurelClient } from './client.ts';
export type { LaurelClientOptions } from './client.ts';
export { LaurelError } from './errors.ts';
export type { FieldError } from './errors.ts';
export type { CompleteOptions, StartOptions } from './actions.ts';
export type { BoardQuery } from './reads.ts';
export type { BoardWatcher } from './watch/watcher.ts';
export type { WatchTuning } from './watch/feed.ts';
export type * from './types.ts';
