/** An event may have so many characters: a stream without an end of a line would fill the memory. */
const LONGEST_EVENT = 1_000_000;

/** One dispatched event of an event stream. */
export interface SseEvent {
  /** `message` where the stream names none. */
  event: string;
  data: string;
  /** The last id seen so far. */
  id: string;
}

/**
 * An incremental parser of `text/event-stream`, after the WHATWG HTML standard, 9.2.6. Feed it text in any
 * pieces; line ends may be LF, CRLF or CR, and may fall between pieces.
 */
export class SseParser {
  /** The reconnection time that the stream asked for (ms), if it did. */
  retryMs: number | undefined;
  #rest = '';
  #afterCr = false;
  #started = false;
  #event = '';
  #data: string[] = [];
  #length = 0;
  #id = '';

  /** The events that this piece completed. @throws RangeError at an event that is too long to be one of Laurel's */
  push(piece: string): SseEvent[] {
    let text = piece;
    if (text === '') return [];
    if (!this.#started) {
      this.#started = true;
      if (text.startsWith('\uFEFF')) text = text.slice(1);
    }
    if (this.#afterCr && text.startsWith('\n')) text = text.slice(1);
    this.#afterCr = piece.endsWith('\r');
    const lines = (this.#rest + text).split(/\r\n|\n|\r/);
    this.#rest = lines.pop() ?? '';
    const events = lines.flatMap((line) => this.#line(line) ?? []);
    if (this.#length + this.#rest.length > LONGEST_EVENT) throw new RangeError('An event is too long.');
    return events;
  }

  #line(line: string): SseEvent | undefined {
    if (line === '') return this.#dispatch();
    this.#length += line.length;
    const colon = line.indexOf(':');
    if (colon === 0) return undefined;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'event') this.#event = value;
    else if (field === 'data') this.#data.push(value);
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
    else if (field === 'retry' && /^\d+$/.test(value)) this.retryMs = Number(value);
    return undefined;
  }

  #dispatch(): SseEvent | undefined {
    const event = { event: this.#event || 'message', data: this.#data.join('\n'), id: this.#id };
    const hasData = this.#data.length > 0;
    this.#event = '';
    this.#data = [];
    this.#length = 0;
    return hasData ? event : undefined;
  }
}
