import type Koa from 'koa';
import { Problem } from '../http/problem.ts';

const hostIn = (address: string): string | undefined => {
  try {
    return new URL(address).host;
  } catch {
    return undefined;
  }
};

/**
 * Refuses a request that changes something and was sent by a page of another site. Browsers name the page's origin in such requests;
 * command-line tools name none, and hold no cookie that another site could misuse.
 *
 * A page under a strict referrer policy sends `Origin: null`. Then `Sec-Fetch-Site`, which no page can set, must say that the page is ours.
 * The host is that of `Host`, or of `X-Forwarded-Host` behind a proxy: no page can set that header across origins either.
 *
 * @throws FORBIDDEN
 */
export function refuseForeignOrigin(ctx: Pick<Koa.Context, 'get' | 'host'>, behindProxy: boolean): void {
  const site = ctx.get('sec-fetch-site');
  const origin = ctx.get('origin') || ctx.get('referer');
  const forwarded = behindProxy ? ctx.get('x-forwarded-host').split(',')[0]?.trim() : undefined;
  const isOurs = (): boolean => {
    if (site === 'cross-site' || site === 'same-site') return false;
    if (origin === '') return true;
    if (origin === 'null') return site === 'same-origin';
    const host = hostIn(origin);
    return host !== undefined && (host === ctx.host || host === forwarded);
  };
  if (isOurs()) return;
  throw new Problem(
    'FORBIDDEN',
    'The request came from a page of another site. Open /admin in this browser and try again there; a proxy in front must pass on Host.',
    { security: { event: 'foreign_origin_refused' } },
  );
}
