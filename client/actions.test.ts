import { expect } from 'chai';
import { settled, transient } from './actions.ts';
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

const view = (status: ActionStatus): ActionView => ({
  actionId: 'x',
  type: 'T',
  leaderboard: 'global',
  status,
});
const error = (status: number, code: string, retryAfterMs?: number) =>
  new LaurelError({ status, code, detail: '', ...(retryAfterMs !== undefined && { retryAfterMs }) });

describe('client/actions', () => {
  it('knows which states are not the end', () => {
    expect(settled(view('queued'))).to.equal(null);
    expect(settled(view('started'))).to.equal(null);
  });

  it('finds the result, nested or not', () => {
    expect(settled({ ...view('completed'), result: RESULT })).to.equal(RESULT);
    expect(settled(RESULT as unknown as ActionView)).to.equal(RESULT);
    expect(() => settled(view('completed'))).to.throw(LaurelError, 'BAD_RESPONSE');
  });

  it('throws at every end without a result', () => {
    expect(() => settled(view('rejected'))).to.throw(LaurelError, 'ACTION_REJECTED');
    expect(() => settled(view('held'))).to.throw(LaurelError, 'ACTION_HELD');
    expect(() => settled(view('cancelled'))).to.throw(LaurelError, 'ACTION_CANCELLED');
    expect(() => settled(view('expired'))).to.throw(LaurelError, 'ACTION_TOKEN_EXPIRED');
  });

  it('tries again only what another try may mend', () => {
    expect(transient(error(0, 'NETWORK_ERROR'))).to.equal(0);
    expect(transient(error(0, 'TIMEOUT'))).to.equal(0);
    expect(transient(error(503, 'UNAVAILABLE', 2000))).to.equal(2000);
    expect(transient(error(502, 'HTTP_502'))).to.equal(0);
    for (const final of [
      error(429, 'RATE_LIMITED', 1000),
      error(202, 'TIMEOUT'),
      error(0, 'ABORTED'),
      error(500, 'INTERNAL'),
      error(409, 'ACTION_ALREADY_COMPLETED'),
      new Error('a defect'),
    ]) {
      expect(transient(final), final.message).to.equal(false);
    }
  });
});
