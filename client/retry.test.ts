import { expect } from 'chai';
import { backoffMs, jitterMs, parseRetryAfter, retry, retryDelayMs, sleep } from './retry.ts';

const BACKOFF = { baseMs: 200, maxMs: 5_000 };
const almostOne = () => 0.999_999;

describe('client/retry', () => {
  it('doubles the upper bound up to the maximum, and spreads over all of it', () => {
    const bounds = [0, 1, 2, 3, 4, 5, 60].map((attempt) => backoffMs(attempt, BACKOFF, almostOne) + 1);
    expect(bounds).to.deep.equal([200, 400, 800, 1600, 3200, 5000, 5000]);
    expect(backoffMs(5, BACKOFF, () => 0)).to.equal(0);
    expect(backoffMs(5, BACKOFF, () => 0.5)).to.equal(2500);
  });

  it('never waits less than the service asked for', () => {
    expect(retryDelayMs(0, BACKOFF, 7_000, () => 0)).to.equal(7_000);
    expect(retryDelayMs(0, BACKOFF, undefined, () => 0.5)).to.equal(100);
  });

  it('spreads a fixed wait evenly to both sides', () => {
    expect(jitterMs(1000, 0.2, () => 0)).to.equal(800);
    expect(jitterMs(1000, 0.2, () => 0.5)).to.equal(1000);
  });

  it('reads Retry-After as seconds or as a date', () => {
    const now = Date.UTC(2026, 0, 1, 12, 0, 0);
    expect(parseRetryAfter('3', now)).to.equal(3000);
    expect(parseRetryAfter('0', now)).to.equal(0);
    expect(parseRetryAfter('Thu, 01 Jan 2026 12:00:10 GMT', now)).to.equal(10_000);
    expect(parseRetryAfter('Thu, 01 Jan 2026 11:00:00 GMT', now)).to.equal(0);
    for (const senseless of [null, '', ' ', 'soon', '-3', '1e3', '2026-01-01'])
      expect(parseRetryAfter(senseless, now), String(senseless)).to.equal(undefined);
  });

  it('stops after the set number of tries, with the last error', async () => {
    const seen: number[] = [];
    const run = (attempt: number) => {
      seen.push(attempt);
      return Promise.reject(new Error(`try ${attempt}`));
    };
    const options = { tries: 3, backoff: { baseMs: 1, maxMs: 1 }, again: () => 0 };
    const error = await retry(run, options).catch((thrown: unknown) => thrown);
    expect(error).to.have.property('message', 'try 2');
    expect(seen).to.deep.equal([0, 1, 2]);
  });

  it('tries no more where it cannot help, or where the wait would pass the deadline', async () => {
    let tries = 0;
    const run = () => {
      tries++;
      return Promise.reject(new Error('no'));
    };
    await retry(run, { tries: 5, again: () => false }).catch(() => undefined);
    expect(tries).to.equal(1);
    await retry(run, { tries: 5, again: () => 60_000, deadline: Date.now() + 1000 }).catch(() => undefined);
    expect(tries).to.equal(2);
  });

  it('ends a wait as soon as it is called off', async () => {
    const controller = new AbortController();
    const waiting = sleep(60_000, controller.signal).catch((error: unknown) => error);
    controller.abort(new Error('off'));
    expect(await waiting).to.have.property('message', 'off');
    expect(await sleep(60_000, controller.signal).catch((error: unknown) => error)).to.be.an('error');
  });
});
