import { expect } from 'chai';
import { preferredWait } from './parts.ts';

describe('preferredWait', () => {
  for (const [prefer, ms] of [
    [undefined, 2000],
    ['respond-async', 0],
    ['wait=3', 3000],
    ['Wait = 3', 2000], // no preference of ours
    ['return=minimal, wait=0', 0],
    ['wait=3; foo', 3000],
    ['wait=31', 30_000],
    ['wait=999999', 30_000],
    ['wait=-1', 2000],
    ['wait=soon', 2000],
  ] as const)
    it(`is ${ms} ms for ${prefer ?? 'no preference'}`, () =>
      expect(preferredWait(prefer, 2000)).to.equal(ms));
});
