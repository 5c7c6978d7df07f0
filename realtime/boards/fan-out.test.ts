import { expect } from 'chai';
import { once } from 'node:events';
import { afterEach, beforeEach } from 'mocha';
import { FanOut } from './fan-out.ts';

/** Gives to so many watchers, each of whom takes a moment. */
function* deliverTo(watchers: number, given: number[]): Generator<void> {
  for (let n = 1; n <= watchers; n += 1) {
    const end = performance.now() + 0.1;
    while (performance.now() < end);
    given.push(n);
    yield;
  }
}

describe('FanOut', () => {
  let fanOut: FanOut;
  beforeEach(() => {
    fanOut = new FanOut();
  });
  afterEach(() => fanOut.close());

  it('gives to everyone once, in order', async () => {
    const given: number[] = [];
    await fanOut.send([deliverTo(100, given), deliverTo(0, given), deliverTo(50, given)]);
    const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);
    expect(given).to.deep.equal([...upTo(100), ...upTo(50)]);
    await fanOut.send([]);
  });

  it('lets the event loop turn while a large room is given to', async () => {
    const given: number[] = [];
    const sent = fanOut.send([deliverTo(1000, given)]);
    const { port1, port2 } = new MessageChannel();
    const heard = once(port2, 'message').then(() => given.length);
    port1.postMessage('from outside');
    expect(await heard).to.be.below(1000);
    await sent;
    expect(given).to.have.length(1000);
    port1.close();
  });

  it('does not have a small room wait for a large one', async () => {
    const [large, small]: [number[], number[]] = [[], []];
    const sent = fanOut.send([deliverTo(1000, large)]);
    await fanOut.send([deliverTo(10, small)]);
    expect(small).to.have.length(10);
    expect(large.length).to.be.below(1000);
    await sent;
    expect(large).to.have.length(1000);
  });

  it('gives nothing more once it is closed', async () => {
    const given: number[] = [];
    void fanOut.send([deliverTo(1000, given)]);
    fanOut.close();
    await new Promise((resolve) => setImmediate(resolve));
    expect(given).to.deep.equal([]);
  });
});
