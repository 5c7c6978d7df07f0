import type Koa from 'koa';
import { Problem } from '../http/problem.ts';

const FORM_LIMIT = 4096;

const tooLarge = (): Problem =>
  new Problem('PAYLOAD_TOO_LARGE', `The form is too large: ${FORM_LIMIT} bytes at most.`);

/** Reads a form that a page sent. @throws UNSUPPORTED_MEDIA_TYPE, PAYLOAD_TOO_LARGE, INVALID_REQUEST */
export async function readForm(ctx: Koa.Context): Promise<URLSearchParams> {
  if (!ctx.is('urlencoded'))
    throw new Problem('UNSUPPORTED_MEDIA_TYPE', 'Send username and password as a form does.');
  if (Number(ctx.get('content-length')) > FORM_LIMIT) throw tooLarge();
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of ctx.req) {
      chunks.push(chunk as Buffer);
      length += (chunk as Buffer).length;
      if (length > FORM_LIMIT) throw tooLarge();
    }
  } catch (cause) {
    if (cause instanceof Problem) throw cause;
    throw new Problem('INVALID_REQUEST', 'The form did not arrive whole. Send it again.', { cause });
  }
  return new URLSearchParams(Buffer.concat(chunks).toString());
}
