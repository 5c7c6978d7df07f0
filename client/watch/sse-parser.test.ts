import { expect } from 'chai';
import { SseParser } from './sse-parser.ts';

const STREAM = [
  ': hello\n',
  'retry: 2500\n',
  'event: leaderboard:snapshot\n',
  'id: 7\n',
  'data: {"a":1,\n',
  'data: "b":2}\n',
  '\n',
  'data:no space\n\n',
  'event: nothing\n\n',
  'data\n\n',
].join('');

const EXPECTED = [
  { event: 'leaderboard:snapshot', data: '{"a":1,\n"b":2}', id: '7' },
  { event: 'message', data: 'no space', id: '7' },
  { event: 'message', data: '', id: '7' },
];

describe('client/watch/sseParser', () => {
  it('reads fields, comments, several data lines, and keeps the last id', () => {
    const parser = new SseParser();
    expect(parser.push(STREAM)).to.deep.equal(EXPECTED);
    expect(parser.retryMs).to.equal(2500);
  });

  it('reads the same however the stream is cut and whatever ends its lines', () => {
    for (const end of ['\n', '\r\n', '\r']) {
      const text = STREAM.replaceAll('\n', end);
      for (let size = 1; size < 12; size++) {
        const parser = new SseParser();
        const events = [];
        for (let at = 0; at < text.length; at += size) events.push(...parser.push(text.slice(at, at + size)));
        expect(events, `${JSON.stringify(end)} in pieces of ${size}`).to.deep.equal(EXPECTED);
      }
    }
  });

  it('skips a byte order mark, and hands out nothing before the blank line', () => {
    const parser = new SseParser();
    expect(parser.push('\uFEFFdata: x\n')).to.deep.equal([]);
    expect(parser.push('')).to.deep.equal([]);
    expect(parser.push('\n')).to.deep.equal([{ event: 'message', data: 'x', id: '' }]);
  });

  it('ignores ids with a NUL and retries that are no number', () => {
    const parser = new SseParser();
    expect(parser.push('id: 1\nid: 2\0\nretry: soon\ndata: x\n\n')).to.deep.equal([
      { event: 'message', data: 'x', id: '1' },
    ]);
    expect(parser.retryMs).to.equal(undefined);
  });

  it('refuses an event without an end, before it fills the memory', () => {
    const parser = new SseParser();
    const piece = 'x'.repeat(65_536);
    expect(() => {
      for (let n = 0; n < 100; n += 1) parser.push(piece);
    }).to.throw(RangeError);
    const lines = new SseParser();
    expect(() => {
      for (let n = 0; n < 100; n += 1) lines.push(`data: ${piece}\n`);
    }).to.throw(RangeError);
    const events = new SseParser();
    for (let n = 0; n < 100; n += 1) expect(events.push(`data: ${piece}\n\n`)).to.have.length(1);
  });
});
