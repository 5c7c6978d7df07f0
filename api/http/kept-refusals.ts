import type { IncomingMessage, RequestListener } from 'node:http';
import type Koa from 'koa';
import { headersOf } from './headers.ts';
import type { Sacrifice } from './route.ts';
import type { LoadShedder } from './shedding.ts';

/** A refusal as it went out, less what was of one request. */
interface KeptRefusal {
  readonly sacrifice: Sacrifice;
  readonly body: string;
  /** name, value, name, value, … */
  readonly headers: readonly string[];
  readonly observe: (seconds: number) => void;
}

export interface KeptRefusalsDeps {
  readonly shedder: LoadShedder;
  readonly requestIdOf: (request: IncomingMessage) => string;
}

/** Headers that are made anew for each refusal; in lower case, as all that Node lists. */
const ownOfRequest = new Set(['x-request-id', 'retry-after']);

/**
 * Under overload most of what comes is refused, and all alike. The first refusal of a route is the application's; it is kept as
 * it went out, and the next ones are made from it below the application, so that more is left for what is let in.
 *
 * Only of routes that write, and whose address says nothing: there are a handful, and each gives up the same for everybody.
 * Requests of another origin are handed on, as their answers have headers of their own.
 */
export class KeptRefusals {
  readonly #deps: KeptRefusalsDeps;
  /** by method and address */
  readonly #kept = new Map<string, KeptRefusal>();

  constructor(deps: KeptRefusalsDeps) {
    this.#deps = deps;
  }

  /** Keeps the refusal that the application has just made. @param route the pattern of its address */
  keep(ctx: Koa.Context, route: string, kept: Pick<KeptRefusal, 'sacrifice' | 'observe'>): void {
    const key = keyOf(ctx.req);
    if (ctx.method === 'GET' || ctx.url !== route || ctx.get('origin') !== '' || this.#kept.has(key)) return;
    if (typeof ctx.body !== 'string') return;
    const headers = headersOf(ctx.res).filter(([name]) => !ownOfRequest.has(name));
    this.#kept.set(key, { ...kept, body: ctx.body, headers: headers.flat() });
  }

  /** @returns what refuses from here what is one too many, and hands the rest on to the application */
  before(app: RequestListener): RequestListener {
    const { shedder, requestIdOf } = this.#deps;
    return (request, response) => {
      const kept = request.headers.origin === undefined ? this.#kept.get(keyOf(request)) : undefined;
      if (!kept || !shedder.isShedding(kept.sacrifice)) return app(request, response);
      const begun = performance.now();
      const refusal = shedder.judge(request, kept.sacrifice);
      if (!refusal) return app(request, response);
      response.writeHead(refusal.status, [
        ...kept.headers,
        ...Object.entries(refusal.headers).flat(),
        'X-Request-Id',
        requestIdOf(request),
      ]);
      response.end(kept.body);
      kept.observe((performance.now() - begun) / 1000);
    };
  }
}

const keyOf = ({ method = '', url = '' }: IncomingMessage): string => `${method} ${url}`;
