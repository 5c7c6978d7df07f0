import { expect } from 'chai';
import { clientIp } from './client-ip.ts';

describe('clientIp', () => {
  const cases: [string, string | undefined, number, string][] = [
    ['203.0.113.9', '1.2.3.4', 0, '203.0.113.9'],
    ['::ffff:203.0.113.9', undefined, 0, '203.0.113.9'],
    ['10.0.0.1', '1.2.3.4, 203.0.113.9', 1, '203.0.113.9'],
    ['10.0.0.1', 'forged, 203.0.113.9, 10.0.0.2', 2, '203.0.113.9'],
    ['10.0.0.1', '203.0.113.9', 2, '203.0.113.9'],
    ['10.0.0.1', 'not an address', 1, '10.0.0.1'],
    ['10.0.0.1', undefined, 1, '10.0.0.1'],
  ];
  for (const [peer, forwarded, hops, expected] of cases) {
    it(`is ${expected} for ${peer} behind ${hops} proxies that say ${forwarded ?? 'nothing'}`, () => {
      expect(clientIp(peer, forwarded, hops)).to.equal(expected);
    });
  }
});
