import { expect } from 'chai';
import fc from 'fast-check';
import { completionJobSchema, parsePartitionJob } from './queues.ts';

const job = {
  kind: 'completion',
  actionId: '0190b0f4-0000-7000-8000-000000000001',
  userId: 'user-1',
  acceptedAt: 1_790_000_000_000,
  tokenHash: 'ab'.repeat(32),
  ip: '203.0.113.9',
  userAgent: 'game/1.0',
  replyTo: '0190b0f4-0000-7000-8000-000000000002',
  waitMs: 2000,
};

describe('payloads of a partition’s queue', () => {
  it('are taken for completions exactly when they are what the schema says', () => {
    const strict = completionJobSchema.prefs({ convert: false });
    const text = fc.oneof(
      fc.constantFrom('', 'a'.repeat(64), 'a'.repeat(65), 'a'.repeat(512), 'a'.repeat(513), 'ab'.repeat(32)),
      fc.constantFrom('G'.repeat(64), 'AB'.repeat(32), 'has space', '__proto__'),
      fc.string(),
    );
    const value = fc.oneof(
      text,
      fc.constantFrom(null, undefined, true, 0, -1, 1, 1.5, Infinity, NaN, 2 ** 53, '1790000000000'),
      fc.constant({ type: 'COMPLETE_TASK', leaderboard: 'global', points: 10 }),
    );
    const field = fc.constantFrom(...Object.keys(job), 'client', 'extra', '__proto__', 'toString');
    const change = fc.record({ field, value, removes: fc.boolean() });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 3 }), (changes) => {
        const changed: Record<string, unknown> = { ...job };
        for (const { field: name, value: to, removes } of changes) {
          if (removes) delete changed[name];
          else Object.defineProperty(changed, name, { value: to, enumerable: true, configurable: true });
        }
        fc.pre(changed['kind'] === 'completion');
        const { error, value: wanted } = strict.validate(changed);
        let taken: unknown;
        try {
          taken = parsePartitionJob(changed);
        } catch {
          taken = undefined;
        }
        expect(taken, JSON.stringify(changed)).to.deep.equal(error ? undefined : wanted);
      }),
      { numRuns: 3000 },
    );
  });
});
