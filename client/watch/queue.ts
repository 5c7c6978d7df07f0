/** Items that a slow reader may leave waiting. Each holds a whole board, so the oldest can go. */
const WAITING_MAX = 256;

/** Hands out pushed items as an async iterator, each once and in order. */
export class AsyncQueue<T> implements AsyncIterableIterator<T> {
  readonly #items: T[] = [];
  readonly #waiting: { resolve: (result: IteratorResult<T>) => void; reject: (error: Error) => void }[] = [];
  readonly #onReturn: () => void;
  #end: { error?: Error } | null = null;

  /** @param onReturn called once, when the reader stops early */
  constructor(onReturn: () => void) {
    this.#onReturn = onReturn;
  }

  push(item: T): void {
    if (this.#end) return;
    const reader = this.#waiting.shift();
    if (reader) {
      reader.resolve({ done: false, value: item });
      return;
    }
    this.#items.push(item);
    if (this.#items.length > WAITING_MAX) this.#items.shift();
  }

  /** No more items. With an error, the reader gets it once the items before it are read. */
  end(error?: Error): void {
    if (this.#end) return;
    this.#end = error ? { error } : {};
    for (const reader of this.#waiting.splice(0)) {
      if (error) reader.reject(error);
      else reader.resolve({ done: true, value: undefined });
    }
  }

  next(): Promise<IteratorResult<T>> {
    const item = this.#items.shift();
    if (item !== undefined) return Promise.resolve({ done: false, value: item });
    if (!this.#end) {
      return new Promise((resolve, reject) => {
        this.#waiting.push({ resolve, reject });
      });
    }
    const { error } = this.#end;
    this.#end = {};
    return error ? Promise.reject(error) : Promise.resolve({ done: true, value: undefined });
  }

  return(): Promise<IteratorResult<T>> {
    this.#items.length = 0;
    this.end();
    this.#onReturn();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
