import { expect } from 'chai';
import fc from 'fast-check';
import { clientIp, keptAddress } from './client-ip.ts';
import { JobSignatures } from './job-signatures.ts';
import { completionJobSchema, MAX_METADATA, parsePartitionJob, type CompletionJob } from './queues.ts';

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

/** What the schema takes as it is; addresses that it does not take are a test of their own. */
const isOrdinaryAddress = (ip: string): boolean => ip !== '' && ip.length <= 45 && keptAddress(ip) === ip;

describe('payloads of a partition’s queue', () => {
  it('are taken for completions exactly when they are what the schema says', () => {
    const strict = completionJobSchema.prefs({ convert: false });
    const text = fc.oneof(
      fc.constantFrom(
        '',
        'a'.repeat(45),
        'a'.repeat(46),
        'a'.repeat(64),
        'a'.repeat(65),
        'a'.repeat(512),
        'a'.repeat(513),
        'ab'.repeat(32),
      ),
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
        // An address that cannot be one is taken for unknown, whatever it says.
        if (typeof changed['ip'] === 'string' && !isOrdinaryAddress(changed['ip'])) return;
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

  const signatures = new JobSignatures(['a secret of at least thirty-two bytes']);
  const ofLength = (most: number) =>
    fc.oneof(fc.string({ minLength: 1, maxLength: most }), fc.constant('x'.repeat(most)));

  it('are taken by workers whatever reached the API', () => {
    const address = fc.oneof(
      fc.constantFrom(undefined, '', 'unknown', '127.0.0.1', '::ffff:127.0.0.1', '::1', 'fe80::1%eth0'),
      fc.constant(`fe80::1%${'a'.repeat(100)}`),
      fc.constant('0000:0000:0000:0000:0000:ffff:255.255.255.255'),
      fc.ipV4(),
      fc.ipV6(),
      fc.string(),
    );
    const completion = fc.record(
      {
        actionId: fc.oneof(fc.uuid(), ofLength(64)),
        userId: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_.:@|+=-]{0,127}$/),
        tokenHash: fc.oneof(fc.constant(null), fc.stringMatching(/^[0-9a-f]{64}$/)),
        userAgent: fc.oneof(fc.constant(null), ofLength(512)),
        waitMs: fc.constantFrom(0, 1, 2000, 30_000),
        metadata: ofLength(MAX_METADATA),
        client: fc.record({
          type: ofLength(64),
          leaderboard: ofLength(64),
          points: fc.nat(2_147_483_647),
        }),
      },
      { requiredKeys: ['actionId', 'userId', 'tokenHash', 'userAgent', 'waitMs'] },
    );
    fc.assert(
      fc.property(completion, address, address, fc.nat(3), (fields, peer, forwarded, proxies) => {
        const made = signatures.sign<CompletionJob>({
          kind: 'completion',
          ...fields,
          ip: keptAddress(clientIp(peer, forwarded, proxies)),
          acceptedAt: 1_790_000_000_000,
          replyTo: '0190b0f4-0000-7000-8000-000000000002',
        });
        const taken = parsePartitionJob(JSON.parse(JSON.stringify(made)));
        expect(taken).to.deep.equal(made);
        expect(taken.kind === 'completion' && signatures.verify(taken)).to.equal(true);
      }),
      { numRuns: 2000 },
    );
  });

  it('are taken with an address that is none, as earlier versions wrote them, and say then that it is unknown', () => {
    for (const ip of ['', `fe80::1%${'a'.repeat(100)}`.slice(0, 64), 'x'.repeat(1000)]) {
      const taken = parsePartitionJob({ ...job, ip });
      expect((taken as CompletionJob).ip).to.equal(ip.startsWith('fe80') ? 'fe80::1' : null);
    }
  });
});
