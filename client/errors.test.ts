import { expect } from 'chai';
import { LaurelError, parseProblem, toLaurelError, transient } from './errors.ts';

const headers = (values: Record<string, string> = {}) => {
  return (name: string) => values[name] ?? null;
};

describe('client/errors', () => {
  it('takes everything from a problem', () => {
    const error = parseProblem(429, headers({ 'retry-after': '12', 'x-request-id': 'r-1' }), {
      type: 'about:blank',
      title: 'Too Many Requests',
      status: 429,
      code: 'RATE_LIMITED',
      detail: 'Ten completions a minute.',
    });
    expect(error).to.be.instanceOf(LaurelError);
    expect(error).to.include({
      status: 429,
      code: 'RATE_LIMITED',
      detail: 'Ten completions a minute.',
      retryAfterMs: 12_000,
      requestId: 'r-1',
    });
    expect(error.errors).to.deep.equal([]);
    expect(error.message).to.equal('RATE_LIMITED: Ten completions a minute.');
  });

  it('keeps field errors and the first result', () => {
    const result = { actionId: 'a', status: 'completed' };
    const errors = [{ path: 'username', message: 'too short' }, 'nonsense', { path: 3 }];
    const error = parseProblem(409, headers(), { code: 'ACTION_ALREADY_COMPLETED', errors, result });
    expect(error.result).to.deep.equal(result);
    expect(error.errors).to.deep.equal([
      { path: 'username', message: 'too short' },
      { path: '', message: '' },
    ]);
  });

  it("shows nothing of a body that is not Laurel's", () => {
    for (const body of [undefined, '<html>nginx</html>', null, [], { code: 7, detail: '' }]) {
      const error = parseProblem(502, headers(), body);
      expect(error).to.include({ status: 502, code: 'HTTP_502', detail: 'The service answered 502.' });
    }
  });

  it('turns anything thrown into one of its own, and leaves its own alone', () => {
    const own = parseProblem(404, headers(), {});
    expect(toLaurelError(own)).to.equal(own);
    expect(toLaurelError(new TypeError('fetch failed'))).to.include({ status: 0, code: 'NETWORK_ERROR' });
    expect(toLaurelError('x')).to.have.property('detail', 'x');
  });

  it('tells what another try may mend, and after how long', () => {
    const error = (status: number, code: string, retryAfterMs?: number) =>
      new LaurelError({ status, code, detail: '', ...(retryAfterMs !== undefined && { retryAfterMs }) });
    expect(transient(error(0, 'NETWORK_ERROR'))).to.equal(0);
    expect(transient(error(0, 'TIMEOUT'))).to.equal(0);
    expect(transient(error(503, 'UNAVAILABLE', 2000))).to.equal(2000);
    expect(transient(error(502, 'HTTP_502'))).to.equal(0);
    expect(transient(error(429, 'RATE_LIMITED', 5000))).to.equal(5000);
    for (const final of [
      error(429, 'RATE_LIMITED', 5001),
      error(429, 'RATE_LIMITED'),
      error(429, 'TOO_MANY_OPEN_ACTIONS', 1000),
      error(202, 'TIMEOUT'),
      error(0, 'ABORTED'),
      error(500, 'INTERNAL_ERROR'),
      error(409, 'ACTION_ALREADY_COMPLETED'),
      new Error('a defect'),
    ]) {
      expect(transient(final), final.message).to.equal(false);
    }
  });
});
