import { expect } from 'chai';
import fc from 'fast-check';
import { spanOf, type Period } from './periods.ts';

const iso = (ms: number | null): string | null =>
  ms === null ? null : new Date(ms).toISOString().slice(0, 10);

describe('spanOf', () => {
  const cases: [string, string, string | null][] = [
    ['2026-11-21T23:59:59.999Z daily', '2026-11-21', '2026-11-22'],
    ['2024-02-29T12:00:00Z daily', '2024-02-29', '2024-03-01'],
    ['2026-01-01T00:00:00Z weekly', '2025-12-29', '2026-01-05'],
    ['2027-01-03T23:59:59Z weekly', '2026-12-28', '2027-01-04'],
    ['2024-02-29T00:00:00Z monthly', '2024-02-01', '2024-03-01'],
    ['2026-12-31T23:59:59Z monthly', '2026-12-01', '2027-01-01'],
    ['2026-12-31T23:59:59Z all', '1970-01-01', null],
  ];
  for (const [input, start, end] of cases) {
    it(`places ${input}`, () => {
      const [at, period] = input.split(' ') as [string, Period];
      const span = spanOf(period, Date.parse(at));
      expect([iso(span.startsAt), iso(span.endsAt)]).to.deep.equal([start, end]);
    });
  }

  it('leaves no gap and no overlap between periods', () => {
    const instant = fc.integer({ min: 0, max: 4_102_444_800_000 });
    fc.assert(
      fc.property(instant, fc.constantFrom('daily', 'weekly', 'monthly'), (at, period) => {
        const span = spanOf(period, at);
        expect(span.startsAt).to.be.at.most(at);
        expect(span.endsAt).to.be.above(at);
        expect(spanOf(period, span.startsAt)).to.deep.equal(span);
        expect(spanOf(period, span.endsAt ?? 0).startsAt).to.equal(span.endsAt);
      }),
    );
  });
});
