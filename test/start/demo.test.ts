import { expectQuietEnd } from '../support/closed-output.ts';

describe('npm run demo', function () {
  this.timeout(30_000);

  it('ends quietly when nobody reads what it prints any more, as behind “| head”', () =>
    expectQuietEnd(['dev/demo/index.ts', '--url', 'http://127.0.0.1:9']));
});
