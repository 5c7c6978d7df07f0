import { expect } from 'chai';
import { JobSignatures } from './job-signatures.ts';
import { parsePartitionJob, type CompletionJob, type CorrectionJob } from './queues.ts';

const [older, newer] = ['an older secret of thirty-two bytes!', 'a newer secret of thirty-two bytes!'];

const completion: CompletionJob = {
  kind: 'completion',
  actionId: 'action-1',
  userId: 'user-1',
  acceptedAt: 1_790_000_000_000,
  tokenHash: null,
  ip: '203.0.113.9',
  userAgent: 'game/1.0',
  replyTo: 'instance-1',
  waitMs: 2000,
  metadata: '{"lap":3}',
  client: { type: 'COMPLETE_TASK', leaderboard: 'global', points: 10, difficulty: 'hard' },
};
const correction: CorrectionJob = {
  kind: 'correction',
  correction: 'adjustment',
  transactionId: 'transaction-1',
  userId: 'user-1',
  leaderboard: 'global',
  delta: 5,
  reason: 'a test',
  actor: 'admin-1',
  acceptedAt: 1_790_000_000_000,
  replyTo: 'instance-1',
};

describe('signatures of jobs', () => {
  const signatures = new JobSignatures([newer]);

  it('hold for what was signed, also after Postgres has put its members into another order', () => {
    for (const job of [completion, correction]) {
      const signed = signatures.sign<CompletionJob | CorrectionJob>(job);
      const reordered = Object.fromEntries(Object.entries(signed).reverse()) as unknown as typeof signed;
      expect(signatures.verify(signed)).to.equal(true);
      expect(signatures.verify(reordered)).to.equal(true);
      expect(parsePartitionJob(reordered)).to.deep.equal(signed);
    }
  });

  it('do not hold once anything that changes a score, or says who is told, is another', () => {
    const changes: Partial<CompletionJob>[] = [
      { actionId: 'action-2' },
      { userId: 'user-2' },
      { acceptedAt: completion.acceptedAt + 1 },
      { tokenHash: 'ab'.repeat(32) },
      { replyTo: 'instance-2' },
      { waitMs: 1 },
      { client: { type: 'COMPLETE_TASK', leaderboard: 'global', points: 11, difficulty: 'hard' } },
      { client: { type: 'COMPLETE_TASK', leaderboard: 'global', points: 10 } },
      { sig: '' },
      { sig: 'A'.repeat(43) },
    ];
    const signed = signatures.sign(completion);
    for (const change of changes)
      expect(signatures.verify({ ...signed, ...change }), JSON.stringify(change)).to.equal(false);
    expect(signatures.verify(completion), 'unsigned').to.equal(false);
    const corrected = signatures.sign(correction);
    for (const change of [{ delta: 6 }, { leaderboard: 'game1' }, { userId: 'user-2' }, { actor: 'admin-2' }])
      expect(signatures.verify({ ...corrected, ...change }), JSON.stringify(change)).to.equal(false);
  });

  it('leave out what is cleared when a user is erased', () => {
    const signed = signatures.sign(completion);
    const cleared: CompletionJob = { ...signed, ip: null, userAgent: null };
    expect(signatures.verify(cleared)).to.equal(true);
    const { metadata, ...rest } = cleared;
    expect(metadata).not.to.equal(undefined);
    expect(signatures.verify(rest)).to.equal(true);
  });

  it('hold while secrets are exchanged, and for no other secret', () => {
    const before = new JobSignatures([older]).sign(completion);
    expect(new JobSignatures([newer, older]).verify(before)).to.equal(true);
    expect(new JobSignatures([newer]).verify(before)).to.equal(false);
    expect(new JobSignatures([]).verify(before)).to.equal(false);
  });
});
