/** Open so many connections, and watch a board. */
export interface WatchOrder {
  /** ws://… */
  readonly url: string;
  readonly tokens: readonly string[];
  readonly leaderboard: string;
}

export interface Joined {
  readonly joined: number;
  readonly refused: number;
  readonly tookMs: number;
}

/** Measure from now on, for so long. */
export interface MeasureOrder {
  readonly seconds: number;
  /** how often one of the connections is closed and opened anew */
  readonly reconnectsPerSecond: number;
}

export interface Received {
  /** frames, over all connections */
  readonly frames: number;
  /** changes, over all connections, by milliseconds from the completion's transaction to the client's receipt */
  readonly lateness: readonly number[];
  /** connections that the server closed meanwhile */
  readonly lost: number;
  readonly reconnected: number;
  /** reconnections that did not get as far as watching the board */
  readonly refused: number;
  /** frames that do not follow on what their client had: one was lost, or came twice */
  readonly gaps: number;
}
