import type { Board, ConnectionState, LaurelError } from '../client/index.ts';
import { clockWords, dateWords } from './words.ts';

/** What the page knows of the board that it shows. */
export interface BoardFacts {
  connection: ConnectionState;
  board: Board | null;
  /** why the service refused the board for good */
  refusal: LaurelError | null;
  /** why it cannot be followed just now */
  trouble: LaurelError | null;
  /** the service answers, but does not push what changes */
  isMuted: boolean;
  /** when the board was last heard of, ms since the epoch */
  heardAt: number | null;
}

/** One word for styles and tests, and the words for people. */
export interface Status {
  name:
    | 'connecting'
    | 'live'
    | 'polling'
    | 'muted'
    | 'closing'
    | 'closed'
    | 'archived'
    | 'limited'
    | 'offline'
    | 'refused';
  words: string;
}

/** What may be said of the board. `live` only of a board that is open, and whose changes are pushed. */
export function statusOf(facts: BoardFacts): Status {
  const { board, connection, heardAt } = facts;
  if (facts.refusal) return { name: 'refused', words: 'Not shown' };
  if (board?.state === 'archived') return { name: 'archived', words: 'Final standings' };
  if (board?.state === 'closed') return { name: 'closed', words: 'Closed' };
  if (connection === 'offline') {
    const asOf = board && heardAt !== null ? `: the board as of ${clockWords(heardAt)}` : '';
    return facts.trouble?.status === 429 || facts.trouble?.code === 'RATE_LIMITED'
      ? { name: 'limited', words: `Asked too often${asOf}` }
      : { name: 'offline', words: `Offline${asOf}` };
  }
  if (board?.state === 'closing') return { name: 'closing', words: 'Closing: the last points are counted' };
  if (connection === 'polling') return { name: 'polling', words: 'Checking every few seconds' };
  if (connection === 'connecting') return { name: 'connecting', words: 'Connecting' };
  return facts.isMuted
    ? { name: 'muted', words: 'Live updates are paused: checking every few seconds' }
    : { name: 'live', words: 'Live' };
}

/** Since when a board takes nothing more, or null while it does. */
export function closedWords(board: Board): string | null {
  const at = board.closedAt ? Date.parse(board.closedAt) : NaN;
  if (board.state === 'closed' || (board.state === 'archived' && board.period === 'all'))
    return Number.isNaN(at)
      ? 'Final standings'
      : `Closed on ${dateWords(at)} at ${clockWords(at)}: final standings`;
  return null;
}
