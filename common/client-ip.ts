import { isIP } from 'node:net';

/**
 * The client's IP address. `X-Forwarded-For` is believed only as far as trusted proxies wrote it: each appends the
 * address it heard from, so that the client's own is `trustedProxies` places from the right. What stands further left, the
 * client may have made up.
 *
 * @param peer the address of the connection itself
 */
export function clientIp(
  peer: string | undefined,
  forwardedFor: string | undefined,
  trustedProxies: number,
): string {
  const own = plain(peer ?? '');
  if (trustedProxies === 0 || forwardedFor === undefined) return own;
  const hops = forwardedFor.split(',').map((hop) => plain(hop.trim()));
  const claimed = hops[hops.length - trustedProxies] ?? hops[0] ?? '';
  return isIP(claimed) ? claimed : own;
}

/** An IPv4 address is the same one when it arrives through an IPv6 socket. */
const plain = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/i, '');
