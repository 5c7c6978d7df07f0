import type { Readable } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import type Koa from 'koa';
import readText from 'raw-body';
import { Problem } from './problem.ts';

/** Of a body as it is understood, whatever it was packed into. */
const LIMIT_BYTES = 16 * 1024;

const unpackers: Readonly<Record<string, () => NodeJS.ReadWriteStream & Readable>> = {
  gzip: createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
};

const tooLarge = (cause: unknown): Problem =>
  new Problem('PAYLOAD_TOO_LARGE', 'A body may have 16 KB at most.', { cause });
const notUtf8Json = (): Problem =>
  new Problem('UNSUPPORTED_MEDIA_TYPE', 'Send the body as UTF-8 JSON, not encoded otherwise.');
const notJson = (cause?: unknown): Problem =>
  new Problem('INVALID_REQUEST', 'The body is not valid JSON.', {
    cause,
    errors: [{ path: '', message: 'is not valid JSON' }],
  });

/**
 * Reads a JSON object or list; `{}` when there is no body. Nothing but JSON is guessed at.
 *
 * @throws PAYLOAD_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE or INVALID_REQUEST
 */
export async function readBody(ctx: Koa.Context): Promise<unknown> {
  const length = Number(ctx.get('content-length'));
  if (ctx.get('transfer-encoding') === '' && !(length > 0)) return {};
  refuseOtherTypes(ctx);
  const encoding = ctx.get('content-encoding').toLowerCase();
  const isPacked = encoding !== '' && encoding !== 'identity';
  const text = isPacked
    ? await readPacked(ctx.req, encoding)
    : await read(ctx.req, length > 0 ? length : null);
  if (text === '') return {};
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw notJson(error);
  }
  if (typeof body !== 'object' || body === null) throw notJson();
  return body;
}

function refuseOtherTypes(ctx: Koa.Context): void {
  if (ctx.get('content-type') === 'application/json') return; // as nearly every client says it
  if (!ctx.is('json', '+json'))
    throw new Problem('UNSUPPORTED_MEDIA_TYPE', 'Send the body as application/json.');
  if (!/^(utf-?8)?$/i.test(ctx.request.charset)) throw notUtf8Json();
}

/** @throws PAYLOAD_TOO_LARGE or INVALID_REQUEST */
async function read(stream: Readable, length: number | null): Promise<string> {
  try {
    return await readText(stream, { limit: LIMIT_BYTES, encoding: 'utf8', length });
  } catch (error) {
    throw (error as { status?: number }).status === 413 ? tooLarge(error) : notJson(error);
  }
}

/**
 * Reads what a packed body unpacks to. A packed stream may end before the body does, and the connection break later: the unpacker has
 * an error listener of its own for its whole life, and hears nothing of the request any more once it has been read.
 */
async function readPacked(request: Readable, encoding: string): Promise<string> {
  const unpacker = Object.hasOwn(unpackers, encoding) ? unpackers[encoding]?.() : undefined;
  if (!unpacker) throw notUtf8Json();
  const breakOff = (error: Error): void => void unpacker.destroy(error);
  unpacker.on('error', () => undefined);
  request.on('error', breakOff);
  try {
    return await read(request.pipe(unpacker), null);
  } finally {
    request.off('error', breakOff);
    request.unpipe(unpacker);
    unpacker.destroy();
    // What is left of the body belongs to nobody.
    request.resume();
  }
}
