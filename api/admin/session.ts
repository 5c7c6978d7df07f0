import type Koa from 'koa';
import { AccessTokenError, type AccessTokens } from '../../common/identity/access-tokens.ts';
import { currentIdentity } from '../../common/identity/access.ts';
import type { UserDirectory } from '../../common/users/user-directory.ts';
import { Problem } from '../http/problem.ts';
import type { SecurityLog } from '../http/security-log.ts';
import type { SignIn } from '../identity/sign-in.ts';
import { signInPage, signInStyle, STYLE_PATH } from './sign-in-page.ts';

export interface AdminSessionDeps {
  readonly accessTokens: AccessTokens;
  readonly directory: UserDirectory;
  readonly signIn: SignIn;
  readonly security: SecurityLog;
  readonly secureCookies: boolean;
  /** what only a signed-in administrator reaches */
  readonly inside: Koa.Middleware;
}

const COOKIE = 'laurel_admin';
const safeMethods = new Set(['GET', 'HEAD']);
const FORM_LIMIT = 4096;

/**
 * Everything below /admin, behind a sign-in of its own. The cookie is an access token of an administrator that no script can read
 * and no other site can send. Nobody gets further without it: neither pages nor the APIs behind them.
 */
export function adminSession(deps: AdminSessionDeps): Koa.Middleware {
  const { accessTokens, directory, signIn, security, secureCookies, inside } = deps;
  const cookie = {
    httpOnly: true,
    sameSite: 'strict' as const,
    secure: secureCookies,
    path: '/admin',
    overwrite: true,
  };

  /** @throws FORBIDDEN for a user who is signed in and is no administrator */
  async function administrator(ctx: Koa.Context): Promise<string | undefined> {
    const token = ctx.cookies.get(COOKIE) ?? /^Bearer +([^ ]+)$/i.exec(ctx.get('authorization'))?.[1];
    if (token === undefined) return undefined;
    try {
      const verified = await accessTokens.verify(token);
      const profile = await directory.find(verified.userId);
      const identity = profile && currentIdentity(verified, profile);
      if (!identity || profile.banned) return undefined;
      if (identity.role !== 'admin') throw new Problem('FORBIDDEN', 'This is for administrators.');
      return identity.userId;
    } catch (error) {
      if (error instanceof AccessTokenError) return undefined;
      throw error;
    }
  }

  async function handleSignIn(ctx: Koa.Context): Promise<void> {
    const form = await readForm(ctx);
    const context = { ip: ctx.state['ip'] as string, method: ctx.method, route: ctx.path };
    try {
      const profile = await signIn({
        username: form.get('username') ?? '',
        password: form.get('password') ?? '',
        ip: context.ip,
      });
      if (profile.role !== 'admin') throw new Problem('FORBIDDEN', 'This is for administrators.');
      const { token, expiresIn } = accessTokens.issue({ ...profile, sessionId: 'admin' });
      // Behind a proxy that ends TLS the connection here is plain; the cookie is for the browser's.
      (ctx.cookies as { secure?: boolean }).secure = secureCookies;
      ctx.cookies.set(COOKIE, token, { ...cookie, maxAge: expiresIn * 1000 });
      security.record('admin_signed_in', { ...context, userId: profile.userId });
      ctx.redirect('/admin');
      ctx.status = 303;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      security.refused(error, context);
      ctx.status = error.status;
      ctx.set(error.headers);
      showPage(ctx, error.message);
    }
  }

  return async (ctx, next) => {
    if (ctx.path !== '/admin' && !ctx.path.startsWith('/admin/')) return next();
    ctx.set('Cache-Control', 'no-store');
    if (!safeMethods.has(ctx.method)) refuseForeignOrigin(ctx);
    if (ctx.path === STYLE_PATH && safeMethods.has(ctx.method)) {
      ctx.type = 'text/css; charset=utf-8';
      ctx.body = signInStyle;
      return;
    }
    if ((ctx.path === '/admin/sign-in' || ctx.path === '/admin') && ctx.method === 'POST')
      return handleSignIn(ctx);
    const userId = await administrator(ctx);
    if (userId === undefined) {
      if (ctx.path === '/admin' && safeMethods.has(ctx.method)) return showPage(ctx);
      if (safeMethods.has(ctx.method) && ctx.accepts('json', 'html') === 'html') {
        ctx.status = 401;
        return showPage(ctx);
      }
      throw new Problem('UNAUTHENTICATED', 'Sign in as an administrator at /admin.');
    }
    if (ctx.path === '/admin/sign-out' && ctx.method === 'POST') {
      ctx.cookies.set(COOKIE, null, cookie);
      ctx.redirect('/admin');
      ctx.status = 303;
      return;
    }
    ctx.state['userId'] = userId;
    if (ctx.path === '/admin') return ctx.redirect('/admin/queues');
    if (!safeMethods.has(ctx.method)) {
      security.record('admin_action', {
        ip: ctx.state['ip'] as string,
        userId,
        method: ctx.method,
        route: ctx.path.slice(0, 200),
      });
    }
    return inside(ctx, next);
  };
}

function showPage(ctx: Koa.Context, problem?: string): void {
  ctx.type = 'text/html; charset=utf-8';
  ctx.body = signInPage(problem);
}

/** A browser names the page's origin in every unsafe request: only our own pages may send them. Tools name none. */
function refuseForeignOrigin(ctx: Koa.Context): void {
  const origin = ctx.get('origin') || ctx.get('referer');
  if (origin === '') return;
  let host: string | undefined;
  try {
    host = new URL(origin).host;
  } catch {
    host = undefined;
  }
  if (host === undefined || host !== ctx.host) {
    throw new Problem('FORBIDDEN', 'Requests that change something must come from Laurel’s own pages.', {
      security: { event: 'foreign_origin_refused' },
    });
  }
}

async function readForm(ctx: Koa.Context): Promise<URLSearchParams> {
  if (!ctx.is('urlencoded'))
    throw new Problem('UNSUPPORTED_MEDIA_TYPE', 'Send username and password as a form does.');
  if (Number(ctx.get('content-length')) > FORM_LIMIT)
    throw new Problem('PAYLOAD_TOO_LARGE', 'The form is too large.');
  let text = '';
  for await (const chunk of ctx.req) {
    text += String(chunk);
    if (text.length > FORM_LIMIT) throw new Problem('PAYLOAD_TOO_LARGE', 'The form is too large.');
  }
  return new URLSearchParams(text);
}
