import { expect } from 'chai';
import { createLogger } from '../../common/logger.ts';
import { createMetrics } from '../../common/metrics.ts';
import { LoopDelay } from './loop-delay.ts';
import type { Route, Sacrifice } from './route.ts';
import { LoadShedder } from './shedding.ts';

const order: readonly Sacrifice[] = ['anonymous_read', 'other', 'start', 'signed_completion', 'completion'];
const thresholds = { SHED_REQUESTS: 200, SHED_LOOP_DELAY_MS: 500, SHED_BACKLOG_MS: 1000 };

describe('the shedding of load', () => {
  let loopDelayMs = 0;
  let backlogMs = 0;
  const lines: string[] = [];
  const made: LoadShedder[] = [];

  let nowMs = 0;

  function shedderOf(config = thresholds, random?: () => number) {
    const metrics = createMetrics('test');
    const shedder = new LoadShedder({
      config,
      signals: { loopDelayMs: () => loopDelayMs, waiting: () => 0, backlogMs: () => backlogMs },
      log: createLogger('test', 'info', { write: (line) => lines.push(line) }),
      metrics,
      now: () => nowMs,
      ...(random && { random }),
    });
    made.push(shedder);
    return { shedder, metrics };
  }

  const refused = (shedder: LoadShedder): Sacrifice[] =>
    order.filter((sacrifice) => shedder.refusal(sacrifice) !== undefined);

  beforeEach(() => {
    loopDelayMs = 0;
    backlogMs = 0;
    lines.length = 0;
  });
  afterEach(() => made.splice(0).forEach((shedder) => shedder.close()));

  it('gives up reads without a token first, then other reads and starts, and completions last', () => {
    const { shedder } = shedderOf();
    const at = (ms: number): Sacrifice[] => {
      loopDelayMs = ms;
      return refused(shedder);
    };
    expect(at(500)).to.deep.equal([]);
    expect(at(750)).to.deep.equal(['anonymous_read']);
    expect(at(1000)).to.deep.equal(['anonymous_read', 'other', 'start']);
    expect(at(3000)).to.deep.equal(['anonymous_read', 'other', 'start']);
    expect(at(4000)).to.deep.equal(order);
    expect(at(0)).to.deep.equal([]);
  });

  it('refuses what feeds the queues when they are long, and nothing else', () => {
    const { shedder } = shedderOf();
    const at = (ms: number): Sacrifice[] => {
      backlogMs = ms;
      return refused(shedder);
    };
    expect(at(1000)).to.deep.equal([]);
    expect(at(2000)).to.deep.equal(['start']);
    expect(at(4000)).to.deep.equal(['start', 'signed_completion']);
    expect(at(1_000_000)).to.deep.equal(['start', 'signed_completion']);
  });

  it('refuses a share that grows with the load, so that it settles and does not flap', () => {
    const shareAt = (ms: number): number => {
      backlogMs = ms;
      let n = 0;
      const { shedder } = shedderOf(thresholds, () => ((n += 1) % 100) / 100);
      let count = 0;
      // A refusal also draws when the client is to come again; that takes every second number.
      for (let i = 0; i < 1000; i += 1) if (shedder.refusal('start')) count += 1;
      return count / 1000;
    };
    const shares = [1000, 1250, 1500, 1750, 2000].map(shareAt);
    expect(shares[0]).to.equal(0);
    expect(shares[4]).to.equal(1);
    for (const [i, share] of shares.entries()) if (i > 0) expect(share).to.be.above(shares[i - 1]!);
  });

  it('waits out a burst of requests, and holds on until it is over for good', async () => {
    const { shedder } = shedderOf();
    const held: (() => void)[] = [];
    const busy = shedder.guard(
      { method: 'get', access: 'player', sacrifice: 'completion' } as unknown as Route,
      () => new Promise<void>((resolve) => held.push(resolve)),
    );
    const work: Promise<unknown>[] = [];
    const underWay = async (count: number): Promise<void> => {
      while (held.length < count) work.push(busy({ req: {}, state: {} } as never, () => Promise.resolve()));
      held.splice(count).forEach((end) => end());
      await new Promise((resolve) => setImmediate(resolve));
    };
    const reads: Sacrifice[] = ['anonymous_read', 'other', 'start'];
    const after = (ms: number): Sacrifice[] => {
      nowMs += ms;
      return refused(shedder);
    };
    await underWay(400);
    expect(after(0)).to.deep.equal([]);
    expect(after(1499)).to.deep.equal([]);
    await underWay(0);
    await underWay(400);
    expect(after(1499)).to.deep.equal([]);
    expect(after(1)).to.deep.equal(reads);
    await underWay(0);
    expect(after(1499)).to.deep.equal([]);
    await underWay(400);
    expect(after(0)).to.deep.equal(reads);
    await underWay(0);
    nowMs += 1500;
    await underWay(400);
    expect(after(0)).to.deep.equal([]);
    await underWay(1000);
    expect(after(0)).to.deep.equal(reads);
    await underWay(0);
    await Promise.all(work);
  });

  it('says when to come again: in 1 to 5 s, not all clients at once', () => {
    loopDelayMs = 10_000;
    const { shedder } = shedderOf();
    const waits = new Set<string>();
    for (let i = 0; i < 1000; i += 1) {
      const problem = shedder.refusal('start')!;
      expect(problem).to.include({ code: 'UNAVAILABLE', status: 503 });
      waits.add(problem.headers['Retry-After']!);
    }
    expect([...waits].sort()).to.deep.equal(['1', '2', '3', '4', '5']);
  });

  it('counts every refusal by class, and writes one line for a thousand of them', async () => {
    loopDelayMs = 10_000;
    const { shedder, metrics } = shedderOf();
    for (let i = 0; i < 1000; i += 1) shedder.refusal('start');
    const text = await metrics.registry.metrics();
    expect(text).to.match(/laurel_shed_requests_total\{class="start",.*\} 1000/);
    expect(text).to.match(/laurel_shed_requests_total\{class="completion",.*\} 0/);
    expect(text).to.match(/laurel_load_ratio\{signal="loop_delay",.*\} 20\n/);
    expect(lines).to.have.length(1);
    expect(JSON.parse(lines[0]!)).to.include({ level: 'warn', loop_delay: 20, backlog: 0 });
  });

  it('refuses nothing where a threshold is 0', () => {
    const { shedder } = shedderOf({ SHED_REQUESTS: 0, SHED_LOOP_DELAY_MS: 0, SHED_BACKLOG_MS: 0 });
    loopDelayMs = 1_000_000;
    backlogMs = 1_000_000;
    expect(refused(shedder)).to.deep.equal([]);
  });
});

describe('the delay of the event loop', () => {
  it('is seen while the loop is held up again and again, and forgotten when it is free', async () => {
    const delay = new LoopDelay();
    delay.start();
    try {
      const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1));
      while (delay.ms < 50) {
        const until = performance.now() + 200;
        while (performance.now() < until);
        await turn();
      }
      const most = delay.ms;
      while (delay.ms > most / 2) await turn();
    } finally {
      delay.stop();
    }
  });
});
