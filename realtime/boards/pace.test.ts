import { expect } from 'chai';
import { Pace } from './pace.ts';

describe('Pace', () => {
  it('keeps the window while frames are cheap', () => {
    const pace = new Pace(100, 0.2);
    expect(pace.spacing('a')).to.equal(100);
    for (let i = 0; i < 50; i += 1) pace.measured('a', 2);
    expect(pace.spacing('a')).to.equal(100);
  });

  it('widens it until sending takes the share, and narrows it again', () => {
    const pace = new Pace(100, 0.2);
    for (let i = 0; i < 50; i += 1) pace.measured('a', 150);
    expect(pace.spacing('a')).to.be.closeTo(750, 1);
    expect(pace.spacing('b')).to.equal(100);
    for (let i = 0; i < 50; i += 1) pace.measured('a', 1);
    expect(pace.spacing('a')).to.equal(100);
  });

  it('divides the share among dear boards', () => {
    const pace = new Pace(100, 0.2);
    for (const board of ['a', 'b']) pace.measured(board, 40);
    pace.measured('c', 1);
    expect(pace.spacing('a')).to.equal(400);
    expect(pace.spacing('c')).to.equal(100);
    pace.forget('b');
    expect(pace.spacing('a')).to.equal(200);
  });
});
