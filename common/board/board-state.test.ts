import { expect } from 'chai';
import { boardAt } from './board.ts';
import { presentState } from './board-state.ts';

const MINUTE = 60_000;

describe('the state of a board', () => {
  const board = boardAt('global', 'daily', Date.parse('2026-03-04T12:00:00Z'));
  const end = Date.parse('2026-03-05T00:00:00Z');
  const states = (ending: Parameters<typeof presentState>[1]) =>
    [-1, 0, 59 * MINUTE, 60 * MINUTE].map((after) => presentState(board, ending, null, end + after).state);

  it('is closing after the end of its period until its standings are frozen', () => {
    const known = { closedAt: null, archivedAt: null, correctedAt: null };
    expect(states(known)).to.deep.equal(['open', 'closing', 'closing', 'closing']);
    expect(states({ ...known, archivedAt: end })).to.deep.equal(Array(4).fill('archived'));
  });

  it('is closed an hour after the end of a period in which nobody played', () => {
    expect(states(undefined)).to.deep.equal(['open', 'closing', 'closing', 'closed']);
  });
});
