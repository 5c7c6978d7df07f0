import { expect } from 'chai';
import { clientIp, countedAddress, countedNetwork, toldOnce } from './client-ip.ts';
import type { Logger } from './logger.ts';

describe('clientIp', () => {
  const cases: [string | undefined, string | undefined, number, string][] = [
    ['203.0.113.9', '1.2.3.4', 0, '203.0.113.9'],
    ['::ffff:203.0.113.9', undefined, 0, '203.0.113.9'],
    ['10.0.0.1', '1.2.3.4, 203.0.113.9', 1, '203.0.113.9'],
    ['10.0.0.1', 'forged, 203.0.113.9, 10.0.0.2', 2, '203.0.113.9'],
    ['10.0.0.1', '203.0.113.9', 2, '203.0.113.9'],
    ['10.0.0.1', 'not an address', 1, '10.0.0.1'],
    ['10.0.0.1', '198.51.100.7:52100', 1, '198.51.100.7'],
    ['10.0.0.1', '[2001:db8::1]:443', 1, '2001:db8::1'],
    ['10.0.0.1', '[2001:db8::1]', 1, '2001:db8::1'],
    ['10.0.0.1', '2001:db8::1', 1, '2001:db8::1'],
    ['10.0.0.1', '"[2001:db8::1]:443"', 1, '2001:db8::1'],
    ['10.0.0.1', '"198.51.100.7"', 1, '198.51.100.7'],
    ['10.0.0.1', ' 198.51.100.7 , 10.0.0.2:80', 2, '198.51.100.7'],
    ['10.0.0.1', '[::ffff:198.51.100.7]:1', 1, '198.51.100.7'],
    ['10.0.0.1', '[fe80::1%eth0]:1', 1, 'fe80::1'],
    ['10.0.0.1', 'unknown', 1, '10.0.0.1'],
    ['10.0.0.1', '_hidden', 1, '10.0.0.1'],
    ['10.0.0.1', '', 1, '10.0.0.1'],
    ['10.0.0.1', '1.2.3.4, unknown', 1, '10.0.0.1'],
    ['10.0.0.1', undefined, 1, '10.0.0.1'],
    [undefined, undefined, 0, ''],
    [undefined, '203.0.113.9', 1, '203.0.113.9'],
    ['fe80::1%eth0', undefined, 0, 'fe80::1'],
    ['10.0.0.1', `fe80::1%${'a'.repeat(100)}`, 1, 'fe80::1'],
  ];
  for (const [peer, forwarded, hops, expected] of cases) {
    it(`is ${expected || 'nothing'} for ${peer ?? 'an unknown peer'} behind ${hops} proxies that say ${forwarded ?? 'nothing'}`, () => {
      expect(clientIp(peer, forwarded, hops)).to.equal(expected);
    });
  }
});

it('says once what a proxy wrote that is no address', () => {
  const told: unknown[] = [];
  const tell = toldOnce({ warn: (fields: unknown) => told.push(fields) } as unknown as Logger);
  for (const hop of ['198.51.100.7:1', 'unknown', '_hidden']) clientIp('10.0.0.1', hop, 1, tell);
  expect(told).to.deep.equal([{ value: 'unknown', setting: 'TRUSTED_PROXIES' }]);
});

describe('countedAddress', () => {
  const cases: [string, string][] = [
    ['203.0.113.9', '203.0.113.9'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:0DB8:0:0:ffff:1:2:3', '2001:db8:0:0::/64'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['::1', '0:0:0:0::/64'],
    ['2001:db8:1:2::', '2001:db8:1:2::/64'],
    ['64:ff9b::203.0.113.9', '64:ff9b:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ];
  for (const [ip, counted] of cases)
    it(`is ${counted} for ${ip}`, () => expect(countedAddress(ip)).to.equal(counted));
});

describe('countedNetwork', () => {
  for (const [ip, counted] of [
    ['203.0.113.9', undefined],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1::/48'],
    ['2001:DB8::1', '2001:db8:0::/48'],
  ] as const)
    it(`is ${counted} for ${ip}`, () => expect(countedNetwork(ip)).to.equal(counted));
});
