import { expect } from 'chai';
import { LineSampler, type LeftOut } from './line-sampler.ts';

describe('the sampling of log lines', () => {
  it('writes five lines a minute of an event and address, and then one with the count', () => {
    const summaries: LeftOut[] = [];
    const sampler = new LineSampler((leftOut) => summaries.push(leftOut));
    const at = 1_000_000;
    const flood = Array.from({ length: 1000 }, () => sampler.allows('forged', '203.0.113.1', at));
    expect(flood.filter(Boolean)).to.have.length(5);
    // Another address, and another event, are told of as ever.
    expect(sampler.allows('forged', '203.0.113.2', at)).to.equal(true);
    expect(sampler.allows('replay', '203.0.113.1', at)).to.equal(true);
    expect(summaries).to.deep.equal([]);
    expect(sampler.allows('forged', '203.0.113.1', at + 59_999)).to.equal(false);
    expect(sampler.allows('forged', '203.0.113.1', at + 60_000)).to.equal(true);
    expect(summaries).to.deep.equal([{ event: 'forged', address: '203.0.113.1', left: 996 }]);
    sampler.stop();
  });

  it('limits the lines of an event from however many addresses, and forgets no count', () => {
    let left = 0;
    const sampler = new LineSampler((leftOut) => (left += leftOut.left));
    let written = 0;
    for (let i = 0; i < 30_000; i += 1) written += sampler.allows('forged', `2001:db8::${i}`, 5000) ? 1 : 0;
    expect(written).to.equal(300);
    sampler.stop();
    expect(left).to.equal(29_700);
  });
});
