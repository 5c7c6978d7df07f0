import { randomUUID } from 'node:crypto';
import { IncomingMessage, ServerResponse, type RequestListener } from 'node:http';
import { Socket } from 'node:net';
import { Readable } from 'node:stream';
import cors from '@koa/cors';
import Router from '@koa/router';
import helmet from 'helmet';
import Koa from 'koa';
import { LRUCache } from 'lru-cache';
import type { Config } from '../../common/config.ts';
import type { Logger } from '../../common/logger.ts';
import type { Metrics } from '../../common/metrics.ts';
import type { AdmissionControl } from '../admission/admission.ts';
import type { Authenticate } from './authenticate.ts';
import { clientIp, toldOnce } from '../../common/client-ip.ts';
import { originCheck } from '../../common/origins.ts';
import { headersOf } from './headers.ts';
import type { IdempotentWrites } from './idempotency.ts';
import { KeptRefusals } from './kept-refusals.ts';
import { KeptReplies } from './kept-replies.ts';
import { Problem } from './problem.ts';
import { readBody } from './body.ts';
import { sendProblem, toProblem } from './send-problem.ts';
import { RefusedTokens } from './refused-tokens.ts';
import type { Input, Route, Sacrifice } from './route.ts';
import type { SecurityLog } from './security-log.ts';
import type { LoadShedder } from './shedding.ts';
import { validator } from './validate.ts';

export interface AppDeps {
  readonly config: Config;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly authenticate: Authenticate;
  readonly admission: AdmissionControl;
  readonly security: SecurityLog;
  readonly shedder: LoadShedder;
  readonly writes: IdempotentWrites;
  readonly routes: readonly Route[];
  /** pages, documentation, the operators' part: whatever is not a route of the API */
  readonly pages: readonly Koa.Middleware[];
}

const PREFIX = '/api/v1';
const MAX_URL = 4096;
const requestIdPattern = /^[\w.-]{8,64}$/;

/** Headers that keep a browser from being turned against its user. No inline script or style anywhere. */
const withSecurityHeaders = (avatarHosts: readonly string[]) =>
  helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'self'"],
        connectSrc: ["'self'", 'ws:', 'wss:'],
        // Pictures of players: a list of hosts keeps a player from learning who looks at a board.
        imgSrc: [
          "'self'",
          'data:',
          ...(avatarHosts.length === 0 ? ['https:'] : avatarHosts.map((host) => `https://${host}`)),
        ],
        objectSrc: ["'none'"],
        baseUri: ["'none'"],
        formAction: ["'self'"],
        frameAncestors: ["'none'"],
      },
    },
    crossOriginResourcePolicy: { policy: 'cross-origin' },
    // Not `no-referrer`: under that a page's own forms carry `Origin: null`, as if they came from another site.
    referrerPolicy: { policy: 'same-origin' },
    strictTransportSecurity: { maxAge: 31_536_000, includeSubDomains: false },
  });

/** They are the same for every request: helmet makes them once. */
function headersOfPages(avatarHosts: readonly string[]): readonly [string, string][] {
  const response = new ServerResponse(new IncomingMessage(new Socket()));
  withSecurityHeaders(avatarHosts)(response.req, response, () => undefined);
  return headersOf(response);
}

/** JSON needs but few of them, and each costs a game client and a server something in every answer. */
const headersOfApi: readonly [string, string][] = [
  ['Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'"],
  ['X-Frame-Options', 'DENY'],
  ...headersOfPages([]).filter(([name]) =>
    ['strict-transport-security', 'x-content-type-options'].includes(name),
  ),
];

/** The one that the client gave, if it is one; else a new one. */
function requestIdOf({ headers }: IncomingMessage): string {
  const given = headers['x-request-id'];
  return typeof given === 'string' && requestIdPattern.test(given) ? given : randomUUID();
}

/** The HTTP application: what every request goes through, around routes that are values. */
export function createApp(deps: AppDeps): RequestListener {
  const { config, log, metrics, security, shedder, admission, routes, pages } = deps;
  const app = new Koa();
  const pageHeaders = headersOfPages(config.AVATAR_HOSTS);
  const durations = metrics.histogram(
    'laurel_http_request_duration_seconds',
    'Time to answer, by route and status.',
    ['method', 'route', 'status'] as const,
  );

  const onUnusable = toldOnce(log);
  const ipOf = ({ socket, headers }: IncomingMessage): string =>
    clientIp(
      socket.remoteAddress,
      headers['x-forwarded-for']?.toString() || undefined,
      config.TRUSTED_PROXIES,
      onUnusable,
    );
  const kept = new KeptReplies({
    admission,
    shedder,
    limited: config.RATE_LIMIT_IP_PER_MINUTE > 0,
    ipOf,
    requestIdOf,
  });

  const keptRefusals = new KeptRefusals({ shedder, requestIdOf });

  app.on('error', (err: Error) => log[isOfConnection(err) ? 'debug' : 'error']({ err }, 'answering failed'));

  app.use(async (ctx, next) => {
    const stop = durations.startTimer();
    const requestId = requestIdOf(ctx.req);
    ctx.res.setHeader('X-Request-Id', requestId);
    const ip = ipOf(ctx.req);
    ctx.state['ip'] = ip;
    const isReadable = hasPath(ctx);
    // Whatever looks at the address from here on must find one.
    if (!isReadable) ctx.req.url = '/';
    const section = sectionOf(ctx.path);
    ctx.state['section'] = section;
    for (const [name, value] of section === '' ? pageHeaders : headersOfApi) ctx.res.setHeader(name, value);
    try {
      if (!isReadable)
        throw new Problem(
          'INVALID_REQUEST',
          'The address cannot be read. Ask for a path, as /api/v1/leaderboards.',
        );
      if (ctx.url.length > MAX_URL)
        throw new Problem('INVALID_REQUEST', `The address is longer than ${MAX_URL} characters.`);
      await next();
    } catch (error) {
      const problem = toProblem(error);
      sendProblem(ctx, problem, requestId, log);
      const userId = ctx.state['userId'] as string | undefined;
      security.refused(problem, { ip, userId, requestId, method: ctx.method, route: routeOf(ctx) });
    }
    keepFromSharedCaches(ctx);
    const route = routeOf(ctx);
    stop({ method: ctx.method, route, status: ctx.status });
    const { stillHolds, shedAs } = ctx.state as { stillHolds?: () => boolean; shedAs?: Sacrifice };
    if (shedAs) {
      const observed = durations.labels({ method: ctx.method, route, status: ctx.status });
      keptRefusals.keep(ctx, route, { sacrifice: shedAs, observe: (seconds) => observed.observe(seconds) });
    }
    if (stillHolds) {
      const [sent, unchanged] = [200, 304].map((status) =>
        durations.labels({ method: 'GET', route, status }),
      );
      kept.keep(ctx, stillHolds, (seconds, status) => (status === 304 ? unchanged : sent)?.observe(seconds));
    }
  });

  const allows = originCheck(config.CORS_ORIGINS);
  const answerOrigins = cors({
    // An origin that is not listed gets no header, and the browser keeps the answer from the page.
    origin: (ctx) => (allows(ctx.get('origin')) ? ctx.get('origin') : ''),
    allowMethods: 'GET,POST,PUT,PATCH,DELETE',
    allowHeaders: [
      'Authorization',
      'Content-Type',
      'Idempotency-Key',
      'If-None-Match',
      'Prefer',
      'X-Request-Id',
      'Last-Event-ID',
    ],
    exposeHeaders: ['ETag', 'Location', 'Retry-After', 'RateLimit', 'RateLimit-Policy', 'X-Request-Id'],
    maxAge: 600,
    keepHeadersOnError: true,
  });
  // A page's request tells its origin. One that does not, and whose answer no cache keeps, has nothing to do with origins.
  app.use((ctx, next) =>
    ctx.method === 'POST' && ctx.get('origin') === '' ? next() : answerOrigins(ctx, next),
  );

  const refused = new RefusedTokens(config.RATE_LIMIT_IP_PER_MINUTE);
  const sections = new Map<string, Router>();
  for (const route of routes) {
    const path = PREFIX + route.path;
    const router = sections.get(sectionOf(path)) ?? new Router();
    sections.set(sectionOf(path), router);
    router[route.method](path, shedder.guard(route, serve(route, deps, kept, refused)));
  }
  app.use(dispatchBySection(sections));
  for (const page of pages) app.use(page);
  app.use((ctx) => {
    throw new Problem('NOT_FOUND', `There is nothing at ${ctx.path}. The routes are described at /docs.`);
  });
  const callback = app.callback();
  return keptRefusals.before(kept.before((request, response) => void callback(request, response)));
}

/**
 * An answer to somebody with a token is nobody else's. One that a shared cache may keep says that it depends on there being a
 * token; one that says nothing of caches would be kept by some of them for a day, erased names included.
 */
function keepFromSharedCaches(ctx: Koa.Context): void {
  const control = ctx.res.getHeader('Cache-Control')?.toString();
  if (control === undefined) ctx.res.setHeader('Cache-Control', 'no-store');
  else if (ctx.get('authorization') === '' && ctx.get('cookie') === '') {
    if (control.startsWith('public')) ctx.vary('Authorization');
  } else if (control.includes('public'))
    ctx.res.setHeader('Cache-Control', control.replace('public', 'private'));
}

/** The part of the API that a path is of: `actions` for `/api/v1/actions/:actionId`; empty outside of the API. */
const sectionOf = (path: string): string => /^\/api\/v1\/([^/]*)/i.exec(path)?.[1]?.toLowerCase() ?? '';

/** Whether a path can be read from the address: `http://[:::/` has none. */
function hasPath(ctx: Koa.Context): boolean {
  try {
    return typeof ctx.path === 'string';
  } catch {
    return false;
  }
}

/** Clients come and go, and send what they like: a connection that broke is not a fault of this side. */
const isOfConnection = (error: Error): boolean =>
  'code' in error &&
  /^(ECONNRESET|ECONNABORTED|EPIPE|ETIMEDOUT|ERR_STREAM_PREMATURE_CLOSE|ERR_HTTP_REQUEST_TIMEOUT|HPE_\w+)$/.test(
    String(error.code),
  );

/** A router holds a path against every route that it has: each part of the API has one of its own. */
function dispatchBySection(sections: ReadonlyMap<string, Router>): Koa.Middleware {
  const works = new Map(
    [...sections].map(([section, router]) => {
      const serveRoutes = router.routes() as Koa.Middleware;
      const refuse = refuseOtherMethods(router);
      const work: Koa.Middleware = (ctx, next) =>
        serveRoutes(ctx, () => refuse(ctx, next) as Promise<unknown>);
      return [section, work];
    }),
  );
  return (ctx, next) => (works.get(ctx.state['section'] as string) ?? passOn)(ctx, next);
}
const passOn: Koa.Middleware = (_ctx, next) => next();

/** The pattern of the route that a request was for. (Koa's types promise one; unmatched requests have none.) */
const routeOf = (ctx: Koa.Context): string =>
  String((ctx as { _matchedRoute?: string })._matchedRoute ?? 'none');

const ADDRESSES = 500;
const LONGEST_ADDRESS = 200;

type Addressed = Pick<Input, 'params' | 'query'>;

/** Libraries add `_` to have an answer past every cache. It means nothing here. */
function queryOf(ctx: Koa.Context): Record<string, unknown> {
  const query: Record<string, unknown> = { ...ctx.query };
  if (ctx.method === 'GET' || ctx.method === 'HEAD') delete query['_'];
  return query;
}

/** What the address of a request says, by the route's schemas. The same address says the same: of reads it is kept. */
function addressReader({ method, params, query }: Route): (ctx: Koa.Context) => Addressed {
  const checkParams = params && validator('params', params);
  const checkQuery = query && validator('query', query);
  const read = (ctx: Koa.Context): Addressed => ({
    params: checkParams ? checkParams((ctx as { params?: unknown }).params) : {},
    query: checkQuery ? checkQuery(queryOf(ctx)) : {},
  });
  if (method !== 'get') return read;
  const known = new LRUCache<string, Addressed>({ max: ADDRESSES });
  return (ctx) => {
    const before = known.get(ctx.url);
    if (before) return before;
    const addressed = read(ctx);
    Object.freeze(addressed.params);
    Object.freeze(addressed.query);
    if (ctx.url.length <= LONGEST_ADDRESS) known.set(ctx.url, addressed);
    return addressed;
  };
}

/** What one route does with a request: who is it, may they, is it well-formed, is it within the limits, and then the work. */
function serve(
  route: Route,
  { authenticate, admission, security, writes }: AppDeps,
  kept: KeptReplies,
  refused: RefusedTokens,
): Koa.Middleware {
  const addressed = addressReader(route);
  const checkBody = route.body && validator('body', route.body);
  return async (ctx) => {
    const ip = ctx.state['ip'] as string;
    const caller = await authenticate(ctx, route.access, route.openLogin).catch((error: unknown) => {
      throw error instanceof Problem && ctx.get('authorization') !== '' ? refused.answer(error, ip) : error;
    });
    if (route.read) {
      const userId = caller && { userId: caller.profile.userId };
      ctx.set(await (kept.verdictOn(ctx.req) ?? admission.admitRead({ kind: 'read', ip, ...userId })));
    }
    const { params, query } = addressed(ctx);
    const input: Input = {
      params,
      query,
      body: checkBody ? checkBody(await readBody(ctx)) : {},
      caller,
      ip,
      userAgent: ctx.get('user-agent').slice(0, 512) || null,
      header: (name) => ctx.get(name) || undefined,
      setHeader: (name, value) => void ctx.res.setHeader(name, value),
      once: notIdempotent,
    };
    if (route.access === 'admin') ctx.res.setHeader('Cache-Control', 'private, no-store');
    const reply = await (route.idempotent ? writes.answer(route, input) : route.handle(input));
    if (route.access === 'admin' && route.method !== 'get') {
      const userId = caller?.profile.userId;
      security.record('admin_action', {
        ip,
        userId,
        method: ctx.method,
        route: routeOf(ctx),
        operation: route.operationId,
        status: reply.status,
      });
    }
    if (reply.stillHolds && !caller) ctx.state['stillHolds'] = reply.stillHolds;
    ctx.status = reply.status;
    for (const [name, value] of Object.entries(reply.headers ?? {})) ctx.res.setHeader(name, value);
    if (reply.body === undefined) {
      ctx.body = null;
      ctx.status = reply.status;
    } else {
      ctx.body = reply.body;
      // The status has gone out: only a connection that is cut tells the client that the rest is missing.
      if (reply.body instanceof Readable) reply.body.once('error', () => ctx.res.destroy());
    }
  };
}

const notIdempotent = (): never => {
  throw new Error('input.once is for routes that are declared idempotent');
};

/** A known path with another method is 405 with the methods that it has, also below /api/v1 only. */
function refuseOtherMethods(router: Router): Koa.Middleware {
  return async (ctx, next) => {
    const { path, pathAndMethod } = router.match(ctx.path, ctx.method);
    if (path.length === 0 || pathAndMethod.length > 0) return next();
    const methods = [...new Set(path.flatMap((layer) => layer.methods))];
    const allow = { Allow: methods.join(', ') };
    if (ctx.method === 'OPTIONS') {
      ctx.set(allow);
      ctx.status = 204;
      return;
    }
    throw new Problem('METHOD_NOT_ALLOWED', `${ctx.method} is not possible here. Possible: ${allow.Allow}.`, {
      headers: allow,
    });
  };
}
