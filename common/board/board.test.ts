import { expect } from 'chai';
import { percentile } from './board.ts';

describe('percentile', () => {
  for (const [rank, total, expected] of [
    [null, 10, null],
    [1, 1, 100],
    [1, 3, 100],
    [2, 3, 50],
    [3, 3, 0],
    // To the nearest tenth, up as well as down.
    [2, 4, 66.7],
    [3, 4, 33.3],
    [2, 17, 93.8],
    [1999, 2000, 0.1],
  ] as const)
    it(`of rank ${rank} of ${total} is ${expected}`, () => {
      expect(percentile(rank, total)).to.equal(expected);
    });
});
