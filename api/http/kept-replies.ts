import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type Koa from 'koa';
import { LRUCache } from 'lru-cache';
import type { AdmissionControl } from '../admission/admission.ts';
import { headersOf } from './headers.ts';
import type { LoadShedder } from './shedding.ts';

/** A reply as it went out, less what was of one request. */
interface KeptReply {
  readonly etag: string | undefined;
  readonly body: string;
  /** name, value, name, value, … */
  readonly headers: readonly string[];
  /** `headers` of the reply to somebody who has this already */
  readonly unchangedHeaders: readonly string[];
  readonly stillHolds: () => boolean;
  readonly observe: (seconds: number, status: number) => void;
}

export interface KeptRepliesDeps {
  readonly admission: AdmissionControl;
  readonly shedder: LoadShedder;
  /** whether reads of an address are counted */
  readonly limited: boolean;
  readonly ipOf: (request: IncomingMessage) => string;
  readonly requestIdOf: (request: IncomingMessage) => string;
}

const REPLIES = 500;
const LONGEST_ADDRESS = 200;
/** Headers of a response that are made anew for each request; in lower case, as all that Node lists. */
const ownOfRequest = new Set(['x-request-id', 'ratelimit', 'ratelimit-policy']);
/** Headers of a body, which a reply without one does not have. */
const ofBody = new Set(['content-type', 'content-length']);

/**
 * Replies to requests without a token, kept as bytes. The next such request is answered from here,
 * below the application: for a page that is in memory anyway, the framework is three quarters of the work.
 *
 * What a request may say about itself and the application would heed (a token, an origin), it is handed on for; and so it is
 * while reads are being shed.
 */
export class KeptReplies {
  readonly #deps: KeptRepliesDeps;
  readonly #replies = new LRUCache<string, KeptReply>({ max: REPLIES });
  readonly #verdicts = new WeakMap<IncomingMessage, Promise<Record<string, string>>>();

  constructor(deps: KeptRepliesDeps) {
    this.#deps = deps;
  }

  /** Keeps the reply that the application has just made, for as long as it holds. */
  keep(ctx: Koa.Context, stillHolds: () => boolean, observe: KeptReply['observe']): void {
    if (ctx.method !== 'GET' || ctx.status !== 200 || typeof ctx.body !== 'string') return;
    if (ctx.get('origin') !== '' || ctx.url.length > LONGEST_ADDRESS) return;
    const headers = headersOf(ctx.res).filter(([name]) => !ownOfRequest.has(name));
    this.#replies.set(ctx.url, {
      etag: ctx.res.getHeader('etag')?.toString(),
      body: ctx.body,
      headers: headers.flat(),
      unchangedHeaders: headers.filter(([name]) => !ofBody.has(name)).flat(),
      stillHolds,
      observe,
    });
  }

  /** What the limits said of a request before it was handed on to the application, if they were asked. */
  verdictOn(request: IncomingMessage): Promise<Record<string, string>> | undefined {
    return this.#verdicts.get(request);
  }

  /** @returns what answers from here if it can, and else by the application */
  before(app: RequestListener): RequestListener {
    return (request, response) => {
      const kept = this.#find(request);
      if (!kept) return app(request, response);
      const begun = performance.now();
      if (!this.#deps.limited) return this.#send(request, response, kept, {}, begun);
      const verdict = this.#deps.admission.admitRead({ kind: 'read', ip: this.#deps.ipOf(request) });
      this.#verdicts.set(request, verdict);
      verdict.then(
        (limits) =>
          kept.stillHolds() ? this.#send(request, response, kept, limits, begun) : app(request, response),
        () => app(request, response),
      );
    };
  }

  #find(request: IncomingMessage): KeptReply | undefined {
    const { method, url = '', headers } = request;
    if (method !== 'GET' || headers.authorization !== undefined || headers.origin !== undefined)
      return undefined;
    const kept = this.#replies.get(url);
    if (!kept) return undefined;
    const known = headers['if-none-match'];
    if (known !== undefined && known !== kept.etag) return undefined;
    return !this.#deps.shedder.isShedding('anonymous_read') && kept.stillHolds() ? kept : undefined;
  }

  #send(
    request: IncomingMessage,
    response: ServerResponse,
    kept: KeptReply,
    limits: Record<string, string>,
    begun: number,
  ): void {
    const unchanged = request.headers['if-none-match'] !== undefined;
    const status = unchanged ? 304 : 200;
    response.writeHead(status, [
      ...(unchanged ? kept.unchangedHeaders : kept.headers),
      ...Object.entries(limits).flat(),
      'X-Request-Id',
      this.#deps.requestIdOf(request),
    ]);
    response.end(unchanged ? undefined : kept.body);
    kept.observe((performance.now() - begun) / 1000, status);
  }
}
