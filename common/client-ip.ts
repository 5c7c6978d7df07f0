import { isIP, isIPv6 } from 'node:net';
import type { Logger } from './logger.ts';

/**
 * The client's IP address. `X-Forwarded-For` is believed only as far as trusted proxies wrote it: each appends the
 * address it heard from, so that the client's own is `trustedProxies` places from the right. What stands further left, the
 * client may have made up.
 *
 * @param peer the address of the connection itself; undefined once the client has reset it
 * @param onUnusable told of what a proxy wrote and is no address; the proxy's own counts then
 * @returns an address without a zone; empty when it is not known, which is no reason to refuse a request
 */
export function clientIp(
  peer: string | undefined,
  forwardedFor: string | undefined,
  trustedProxies: number,
  onUnusable?: (value: string) => void,
): string {
  const own = plain(peer ?? '');
  if (trustedProxies === 0 || forwardedFor === undefined) return own;
  const hops = forwardedFor.split(',');
  const said = hops[hops.length - trustedProxies] ?? hops[0] ?? '';
  const claimed = plain(said.trim());
  if (isIP(claimed)) return claimed;
  const bare = plain(withoutPort(said));
  if (isIP(bare)) return bare;
  onUnusable?.(said);
  return own;
}

/** Some proxies write a port behind the address, brackets around an IPv6 one, or quotes around both. */
const withoutPort = (hop: string): string =>
  hop
    .trim()
    .replace(/^"(.*)"$/, '$1')
    .trim()
    .replace(/^\[([^\]]*)\](?::\d*)?$/, '$1')
    .replace(/^([\d.]+):\d*$/, '$1');

/** Tells of the first unusable value only: what a proxy writes, it writes into every request. */
export function toldOnce(log: Logger): (value: string) => void {
  let told = false;
  return (value) => {
    if (told) return;
    told = true;
    log.warn(
      { value: value.slice(0, 100), setting: 'TRUSTED_PROXIES' },
      'X-Forwarded-For holds what is no address: the proxy’s own is counted, for all its clients together',
    );
  };
}

/**
 * An IPv4 address is the same one when it arrives through an IPv6 socket. A zone (`fe80::1%eth0`) means something on one machine
 * only, and may be of any length.
 */
const plain = (address: string): string => (address.split('%')[0] ?? '').replace(/^::ffff:(?=\d+\.)/i, '');

/** The longest text of an address: an IPv4 one within an IPv6 one, all groups written out. */
export const LONGEST_IP = 45;

/** An address as it is kept with an action: null when it is not known. */
export function keptAddress(ip: string | null): string | null {
  const address = plain(ip ?? '');
  return isIP(address) === 0 ? null : address;
}

/**
 * Under which a client's requests are counted: an IPv4 address, or the /64 of an IPv6 one, which is the least that a
 * household or a rented machine is given. By whole addresses such a client could be 2^64 clients.
 */
export const countedAddress = (ip: string): string => (isIPv6(ip) ? `${prefixOf(ip, 4)}::/64` : ip);

/** The /48 of an IPv6 address, which is what a site is given; undefined for other addresses. */
export const countedNetwork = (ip: string): string | undefined =>
  isIPv6(ip) ? `${prefixOf(ip, 3)}::/48` : undefined;

/** The first groups of an IPv6 address, written in full. */
function prefixOf(ip: string, count: number): string {
  const [start = '', end] = ip.split('%')[0]?.toLowerCase().split('::') ?? [];
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':'));
  const [left, right] = [groups(start), groups(end ?? '')];
  const missing =
    end === undefined ? 0 : Math.max(0, 8 - left.length - right.length - (ip.includes('.') ? 1 : 0));
  const whole = [...left, ...Array<string>(missing).fill('0'), ...right];
  return whole
    .slice(0, count)
    .map((group) => parseInt(group, 16).toString(16))
    .join(':');
}
