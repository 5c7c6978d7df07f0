import { request, type Dispatcher } from 'undici';
import { io, type Socket } from 'socket.io-client';
import { SseParser, type SseEvent } from '../../client/watch/sse-parser.ts';

/** What a handshake ended with. */
export interface Handshake {
  readonly code: string;
  readonly retryAfterMs?: number;
}

/** One Socket.IO connection, and all that it has heard, in order. */
export class Listener {
  readonly socket: Socket;
  readonly heard: { event: string; payload: any }[] = [];
  readonly handshake: Promise<Handshake>;
  /** resolves with the reason when the connection has ended */
  readonly ended: Promise<string>;

  constructor(url: string, token?: string, headers: Record<string, string> = {}) {
    this.socket = io(url, {
      transports: ['websocket'],
      forceNew: true,
      reconnection: false,
      auth: token === undefined ? {} : { token },
      extraHeaders: headers,
    });
    this.socket.onAny((event: string, payload: unknown) => this.heard.push({ event, payload }));
    this.handshake = new Promise((resolve) => {
      this.socket.once('connect', () => resolve({ code: 'connected' }));
      this.socket.once('connect_error', (error: Error & { data?: Handshake }) =>
        resolve(error.data ?? { code: error.message }),
      );
    });
    this.ended = new Promise((resolve) => this.socket.once('disconnect', resolve));
  }

  ask(event: string, payload: unknown): Promise<any> {
    return this.socket.timeout(5_000).emitWithAck(event, payload);
  }

  of(event: string): any[] {
    return this.heard.filter((one) => one.event === event).map(({ payload }) => payload as unknown);
  }
}

/** One event stream, and all that it has heard. */
export class Stream {
  readonly events: SseEvent[] = [];
  /** as it came, with comments */
  text = '';
  readonly status: number;
  readonly headers: Dispatcher.ResponseData['headers'];
  readonly problem: any;
  readonly ended: Promise<void>;
  readonly #abort: AbortController;

  private constructor(response: Dispatcher.ResponseData, problem: unknown, abort: AbortController) {
    this.status = response.statusCode;
    this.headers = response.headers;
    this.problem = problem;
    this.#abort = abort;
    const parser = new SseParser();
    const decoder = new TextDecoder();
    const read = async (): Promise<void> => {
      try {
        for await (const chunk of response.body) {
          const text = decoder.decode(chunk as Buffer, { stream: true });
          this.text += text;
          this.events.push(...parser.push(text));
        }
      } catch {
        // Called off by the test, or cut by the server: either way it has ended.
      }
    };
    this.ended = problem === undefined ? read() : Promise.resolve();
  }

  static async open(
    base: string,
    path: string,
    headers: Record<string, string> = {},
    method = 'GET',
  ): Promise<Stream> {
    const abort = new AbortController();
    const response = await request(`${base}/api/v1${path}`, {
      method: method as 'GET',
      headers,
      signal: abort.signal,
      bodyTimeout: 0,
    });
    const problem: unknown = response.statusCode === 200 ? undefined : await response.body.text();
    return new Stream(
      response,
      typeof problem === 'string' && problem !== '' ? JSON.parse(problem) : problem,
      abort,
    );
  }

  close(): Promise<void> {
    this.#abort.abort();
    return this.ended;
  }
}
