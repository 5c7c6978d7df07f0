import { Client } from 'undici';

export interface LineAnswer {
  readonly status: number;
  readonly body: string;
}

/** One kept-alive connection that carries one request at a time, as a game client's does. */
export class HttpLine {
  readonly #client: Client;

  constructor(url: string) {
    this.#client = new Client(url, { pipelining: 1, keepAliveTimeout: 60_000, bodyTimeout: 30_000 });
  }

  /** Below undici's `request`, whose streams would cost the generator as much again. */
  send(method: 'GET' | 'POST', path: string, token: string, body?: string): Promise<LineAnswer> {
    return new Promise((resolve, reject) => {
      let status = 0;
      let text = '';
      this.#client.dispatch(
        {
          method,
          path,
          headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
          ...(body !== undefined && { body }),
        },
        {
          onRequestStart: () => undefined,
          onResponseStart: (_controller, statusCode) => {
            status = statusCode;
          },
          onResponseData: (_controller, chunk) => {
            text += chunk.toString();
          },
          onResponseEnd: () => resolve({ status, body: text }),
          onResponseError: (_controller, error) => reject(error),
        },
      );
    });
  }

  close(): Promise<void> {
    return this.#client.close();
  }
}
