import type Koa from 'koa';
import { AccessTokenError, type AccessTokens, type Identity } from '../../common/identity/access-tokens.ts';
import { currentIdentity } from '../../common/identity/access.ts';
import type { TokenUsers } from '../../common/users/token-users.ts';
import type { UserProfile } from '../../common/users/user-directory.ts';
import { wantsPage } from '../html/page.ts';
import { Problem } from '../http/problem.ts';
import type { SecurityLog } from '../http/security-log.ts';
import type { Sessions } from '../identity/sessions.ts';
import type { SignIn } from '../identity/sign-in.ts';
import { readForm } from './form.ts';
import { refuseForeignOrigin } from './origin.ts';
import { signInPage, signOutPage, SIGN_OUT_PATH } from './sign-in-page.ts';

export interface AdminSessionDeps {
  readonly accessTokens: AccessTokens;
  readonly tokenUsers: TokenUsers;
  readonly sessions: Sessions;
  readonly signIn: SignIn;
  readonly security: SecurityLog;
  readonly secureCookies: boolean;
  /** a proxy in front sets `X-Forwarded-Host` */
  readonly behindProxy: boolean;
  /** what only a signed-in administrator reaches; it finds the administrator's id in `ctx.state.userId` */
  readonly inside: Koa.Middleware;
  /** where an administrator arrives */
  readonly home: string;
}

const COOKIE = 'laurel_admin';
const safeMethods = new Set(['GET', 'HEAD']);

/**
 * The content security policy of operators' pages: their own files and nothing else. `base-uri 'self'` because Bull Board's page has
 * a `<base>` element.
 *
 * @param style further sources of `style-src`
 */
export const pagePolicy = (style = ''): string =>
  `default-src 'self'; style-src 'self'${style}; img-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'`;

/** Where to go after sign-in: one of our own pages, never an address elsewhere. */
const isOwnPage = (path: string): boolean =>
  /^\/admin(?:\/[\w/.?=&%-]*)?$/.test(path) && !path.includes('..');

/** The page that showed the form, which is the one that the operator had asked for. */
function pageBefore(ctx: Koa.Context): string {
  const referer = ctx.get('referer');
  if (!URL.canParse(referer)) return '';
  const { pathname, search } = new URL(referer);
  return pathname === '/admin/sign-in' ? '' : pathname + search;
}

/**
 * Everything below /admin, behind a sign-in of its own. The cookie is an access token of an administrator that no script can read
 * and no other site can send; it is good for as long as its session lasts. Nobody gets further without it: neither pages nor the APIs
 * behind them.
 */
export function adminSession(deps: AdminSessionDeps): Koa.Middleware {
  const { accessTokens, tokenUsers, sessions, signIn, security, secureCookies, behindProxy, inside, home } =
    deps;
  const cookie = {
    httpOnly: true,
    sameSite: 'strict' as const,
    secure: secureCookies,
    path: '/admin',
    overwrite: true,
  };

  function setCookie(ctx: Koa.Context, token: string | null, maxAgeS?: number): void {
    // Behind a proxy that ends TLS the connection here is plain; the cookie is for the browser's.
    (ctx.cookies as { secure?: boolean }).secure = secureCookies;
    ctx.cookies.set(COOKIE, token, { ...cookie, ...(maxAgeS !== undefined && { maxAge: maxAgeS * 1000 }) });
  }

  async function verified(token: string): Promise<Identity | undefined> {
    try {
      return await accessTokens.verify(token);
    } catch (error) {
      if (error instanceof AccessTokenError) return undefined;
      throw error;
    }
  }

  /** @throws FORBIDDEN for a user who is signed in and is no administrator */
  async function administrator(ctx: Koa.Context): Promise<Identity | undefined> {
    const fromCookie = ctx.cookies.get(COOKIE);
    const token = fromCookie ?? /^Bearer +([^ ]+)$/i.exec(ctx.get('authorization'))?.[1];
    const said = token === undefined ? undefined : await verified(token);
    if (!said) return undefined;
    const profile = await tokenUsers.find(said);
    if (profile === 'unknown' || profile === 'erased' || profile.banned) return undefined;
    const identity = currentIdentity(said, profile);
    if (!identity) return undefined;
    if (identity.role !== 'admin') throw new Problem('FORBIDDEN', 'This is for administrators.');
    // A copy of the cookie is a bearer token as well.
    if (!(await sessions.standsBehind(identity))) return undefined;
    return identity;
  }

  async function administratorSigningIn(ctx: Koa.Context, form: URLSearchParams): Promise<UserProfile> {
    const profile = await signIn({
      username: form.get('username') ?? '',
      password: form.get('password') ?? '',
      ip: ctx.state['ip'] as string,
    });
    if (profile.role !== 'admin') throw new Problem('FORBIDDEN', 'This is for administrators.');
    return profile;
  }

  async function handleSignIn(ctx: Koa.Context): Promise<void> {
    const form = await readForm(ctx);
    const next = form.get('next') ?? pageBefore(ctx);
    ctx.state['problemPage'] = ({ message }: Problem) => signInPage({ problem: message, next });
    const profile = await administratorSigningIn(ctx, form);
    const { accessToken, expiresIn } = await sessions.open(profile, ctx.get('user-agent') || null);
    setCookie(ctx, accessToken, expiresIn);
    security.record('admin_signed_in', {
      ip: ctx.state['ip'] as string,
      userId: profile.userId,
      method: ctx.method,
      route: ctx.path,
    });
    seeOther(ctx, isOwnPage(next) ? next : '/admin');
  }

  /** Ends the login of the cookie for good: a copy of it opens nothing any more. */
  async function handleSignOut(ctx: Koa.Context): Promise<void> {
    const identity = await verified(ctx.cookies.get(COOKIE) ?? '');
    if (identity?.sessionId !== undefined) await sessions.end(identity.userId, identity.sessionId);
    setCookie(ctx, null);
    seeOther(ctx, '/admin');
  }

  /** Somebody who is not signed in gets the page to do so; a program gets a problem. */
  function askToSignIn(ctx: Koa.Context): void {
    if (safeMethods.has(ctx.method)) {
      if (ctx.path === '/admin' || ctx.path === '/admin/') return showPage(ctx, signInPage());
      if (wantsPage(ctx)) {
        ctx.status = 401;
        return showPage(ctx, signInPage());
      }
    }
    throw new Problem('UNAUTHENTICATED', 'Sign in as an administrator at /admin.');
  }

  return async (ctx, next) => {
    const { path } = ctx;
    if (path !== '/admin' && !path.startsWith('/admin/')) return next();
    const isSafe = safeMethods.has(ctx.method);
    ctx.set('Cache-Control', 'no-store');
    ctx.set('Content-Security-Policy', pagePolicy());
    if (wantsPage(ctx)) ctx.state['problemPage'] = ({ message }: Problem) => signInPage({ problem: message });
    if (!isSafe) refuseForeignOrigin(ctx, behindProxy);
    if (ctx.method === 'POST') {
      if (path === '/admin' || path === '/admin/sign-in') return handleSignIn(ctx);
      if (path === SIGN_OUT_PATH) return handleSignOut(ctx);
    }
    const identity = await administrator(ctx);
    if (!identity) return askToSignIn(ctx);
    ctx.state['userId'] = identity.userId;
    delete ctx.state['problemPage']; // nothing to sign in for
    if (isSafe && (path === '/admin' || path === '/admin/' || path === '/admin/sign-in'))
      return ctx.redirect(home);
    if (isSafe && path === SIGN_OUT_PATH) return showPage(ctx, signOutPage(home));
    return inside(ctx, next);
  };
}

function showPage(ctx: Koa.Context, page: string): void {
  ctx.type = 'text/html; charset=utf-8';
  ctx.body = page;
}

function seeOther(ctx: Koa.Context, path: string): void {
  ctx.redirect(path);
  ctx.status = 303;
}
