import { expect } from 'chai';
import { settled } from './actions.ts';
import { LaurelError } from './errors.ts';
import type { ActionStatus, ActionView, CompletionResult } from './types.ts';

const RESULT: CompletionResult = {
  actionId: 'x',
  status: 'completed',
  leaderboard: 'global',
  userId: 'u',
  score: { previous: 0, current: 10, delta: 10 },
  rank: { previous: null, current: 1 },
  transactionId: 't',
  completedAt: '2026-01-01T00:00:00.000Z',
};

const view = (status: ActionStatus, result: CompletionResult | null = null): ActionView => ({
  actionId: 'x',
  type: 'T',
  leaderboard: 'global',
  status,
  points: 10,
  startedAt: '2026-01-01T00:00:00.000Z',
  expiresAt: '2026-01-01T00:05:00.000Z',
  completedAt: null,
  metadata: null,
  completionMetadata: null,
  result,
});

describe('client/actions', () => {
  it('knows which states are not the end', () => {
    expect(settled(view('queued'))).to.equal(null);
    expect(settled(view('started'))).to.equal(null);
  });

  it('finds the result', () => {
    expect(settled(view('completed', RESULT))).to.equal(RESULT);
    expect(() => settled(view('completed'))).to.throw(LaurelError, 'BAD_RESPONSE');
  });

  it('throws at every end without a result', () => {
    expect(() => settled(view('rejected'))).to.throw(LaurelError, 'ACTION_REJECTED');
    expect(() => settled(view('held'))).to.throw(LaurelError, 'ACTION_HELD');
    expect(() => settled(view('cancelled'))).to.throw(LaurelError, 'ACTION_CANCELLED');
    expect(() => settled(view('expired'))).to.throw(LaurelError, 'ACTION_TOKEN_EXPIRED');
  });
});
