import { expect } from 'chai';
import type { Board, LeaderboardEntry, LeaderboardFrame } from '../types.ts';
import type { BoardState, Step } from './reducer.ts';
import { NOTHING, diffBoards, disconnected, receiveFrame, receiveSnapshot } from './reducer.ts';

const entry = (rank: number, userId: string, username: string, score: number): LeaderboardEntry => ({
  rank,
  userId,
  username,
  score,
  avatarUrl: null,
  updatedAt: '2026-01-01T10:00:00.000Z',
});

function board(version: number, over: Partial<Board> = {}): Board {
  return {
    leaderboard: 'global',
    period: 'daily',
    periodStart: '2026-01-01T00:00:00.000Z',
    periodEnd: '2026-01-02T00:00:00.000Z',
    version,
    total: 1,
    updatedAt: null,
    state: 'open',
    closedAt: null,
    correctedAt: null,
    entries: [entry(1, 'a', 'ada', version)],
    ...over,
  };
}

function frame(previousVersion: number, version: number): LeaderboardFrame {
  return {
    type: 'LEADERBOARD_REFRESH',
    leaderboard: 'global',
    period: 'daily',
    version,
    previousVersion,
    timestamp: '2026-01-01T10:00:00.000Z',
    total: version,
    changes: [{ userId: 'a', username: 'ada', oldRank: 1, newRank: 1, score: version, delta: 1 }],
    entries: [entry(1, 'a', 'ada', version)],
  };
}

const at = (version: number): BoardState => receiveSnapshot(NOTHING, board(version)).state;
const versions = (step: Step) => step.updates.map((update) => update.board.version);

describe('client/watch/reducer', () => {
  it('begins with a snapshot', () => {
    const step = receiveSnapshot(NOTHING, board(5));
    expect(versions(step)).to.deep.equal([5]);
    expect(step.updates[0]).to.deep.include({ cause: 'snapshot', changes: [] });
    expect(step.resync).to.equal(false);
  });

  it('takes frames of a service that does not tell the total yet', () => {
    const earlier = Object.fromEntries(Object.entries(frame(5, 6)).filter(([name]) => name !== 'total'));
    const step = receiveFrame(at(5), earlier as unknown as LeaderboardFrame);
    expect(versions(step)).to.deep.equal([6]);
    expect(step.updates[0]?.board.total).to.equal(1);
  });

  it('holds frames that come before the snapshot, then applies those that follow it', () => {
    let state = NOTHING;
    for (const early of [frame(3, 4), frame(4, 5), frame(5, 6)]) {
      const step = receiveFrame(state, early);
      expect(step).to.deep.include({ updates: [], resync: false });
      state = step.state;
    }
    const step = receiveSnapshot(state, board(5));
    expect(versions(step)).to.deep.equal([5, 6]);
    expect(step.state.held).to.deep.equal([]);
  });

  it('applies a frame that follows, whatever the step in the version', () => {
    const step = receiveFrame(at(5), frame(5, 9));
    expect(versions(step)).to.deep.equal([9]);
    expect(step.updates[0]?.board.periodEnd).to.equal('2026-01-02T00:00:00.000Z');
    expect(step.updates[0]?.board.total).to.equal(9);
    expect(step.updates[0]?.changes).to.have.length(1);
  });

  it('ignores what it has already', () => {
    for (const old of [frame(4, 5), frame(3, 4)]) {
      const step = receiveFrame(at(5), old);
      expect(step).to.deep.include({ updates: [], resync: false });
      expect(step.state.board?.version).to.equal(5);
    }
  });

  it('asks once for a snapshot at a gap, holds what follows, and catches up', () => {
    const gap = receiveFrame(at(5), frame(6, 7));
    expect(gap).to.deep.include({ updates: [], resync: true });
    const more = receiveFrame(gap.state, frame(7, 8));
    expect(more).to.deep.include({ updates: [], resync: false });
    expect(more.state.board?.version).to.equal(5);
    expect(versions(receiveSnapshot(more.state, board(6)))).to.deep.equal([6, 7, 8]);
    expect(versions(receiveSnapshot(more.state, board(8)))).to.deep.equal([8]);
    expect(versions(receiveSnapshot(more.state, board(12)))).to.deep.equal([12]);
  });

  it('asks again where the snapshot is from before the gap', () => {
    const gap = receiveFrame(at(3), frame(6, 7));
    const step = receiveSnapshot(gap.state, board(5));
    expect(versions(step)).to.deep.equal([5]);
    expect(step.resync).to.equal(true);
    expect(versions(receiveSnapshot(step.state, board(6)))).to.deep.equal([6, 7]);
  });

  it('does not go back for one late snapshot', () => {
    const step = receiveSnapshot(at(5), board(4));
    expect(step).to.deep.include({ updates: [], resync: false });
    expect(step.state.board?.version).to.equal(5);
    const waiting = receiveSnapshot(disconnected(at(5)), board(4));
    expect(waiting.resync).to.equal(true);
  });

  it('goes back where the service has: older answers, three in a row', () => {
    let state = at(50);
    for (const version of [1, 2]) state = receiveSnapshot(state, board(version)).state;
    expect(versions(receiveSnapshot(state, board(3)))).to.deep.equal([3]);

    state = at(50);
    for (const version of [1, 2]) state = receiveFrame(state, frame(version - 1, version)).state;
    const third = receiveFrame(state, frame(2, 3));
    expect(third.resync).to.equal(true);
    expect(versions(receiveSnapshot(third.state, board(3)))).to.deep.equal([3]);
  });

  it('takes a later period even where its counter begins anew', () => {
    const next = board(0, { periodStart: '2026-01-02T00:00:00.000Z', entries: [] });
    const step = receiveSnapshot(at(50), next);
    expect(versions(step)).to.deep.equal([0]);
    expect(step.updates[0]?.changes).to.deep.equal([]);
  });

  it('says nothing where the very same board was read again', () => {
    const same = board(5);
    const state = receiveSnapshot(NOTHING, same).state;
    expect(receiveSnapshot(state, same).updates).to.deep.equal([]);
  });

  it('works out who scored from two boards', () => {
    const before = board(1, {
      entries: [entry(1, 'a', 'ada', 50), entry(2, 'b', 'bo', 40)],
    });
    const after = board(2, {
      entries: [entry(1, 'b', 'bo', 90), entry(2, 'a', 'ada', 50), entry(3, 'c', 'cy', 10)],
    });
    expect(diffBoards(before, after)).to.deep.equal([
      { userId: 'b', username: 'bo', oldRank: 2, newRank: 1, score: 90, delta: 50 },
      { userId: 'c', username: 'cy', oldRank: null, newRank: 3, score: 10, delta: 0 },
    ]);
    expect(diffBoards(null, after)).to.deep.equal([]);
  });
});
