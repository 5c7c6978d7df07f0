import type { BenchPlayer } from '../players.ts';

/** Who plays, and where: said once. */
export interface PlayGround {
  readonly url: string;
  readonly players: readonly BenchPlayer[];
}

export interface PlayOrder {
  /** where in the round of players to go on */
  readonly first: number;
  readonly seconds: number;
  readonly inFlight: number;
  /** plays a second; without it, as many as there is room for */
  readonly rate?: number;
  /** more is sent than can be done: a 503 is what is wanted then, and no error */
  readonly overload?: boolean;
}

export interface PlayOutcome {
  /** from the first request to the last answer, milliseconds */
  readonly tookMs: number;
  /** milliseconds each */
  readonly startMs: readonly number[];
  readonly completeMs: readonly number[];
  /** ids of the actions that were answered 200 or 202 */
  readonly acknowledged: readonly string[];
  /** points of those answered 200 */
  readonly points: number;
  /** answered 202: they count later */
  readonly queued: number;
  /** answered 503 under overload, and not tried again */
  readonly shed: { readonly start: number; readonly complete: number };
  /** what else was answered, by status or error */
  readonly errors: Readonly<Record<string, number>>;
  /** where in the round of players this ended */
  readonly next: number;
}

/** Sent as soon as the last answer is there, before the outcome, which takes a while to send. */
export const DONE = 'done';
