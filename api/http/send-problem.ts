import type Koa from 'koa';
import { HashingBusy } from '../../common/identity/passwords.ts';
import type { Logger } from '../../common/logger.ts';
import { isTransient } from '../../common/postgres.ts';
import { isRedisAway } from '../../common/redis.ts';
import { wantsPage } from '../html/page.ts';
import { problemPage } from '../html/problem-page.ts';
import { Problem, unavailable } from './problem.ts';

/** What went wrong, in the form in which clients get it. Whatever was not foreseen tells nothing of the inside. */
export function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof HashingBusy) {
    const detail = 'Too many people are signing in. Send the same request again in a moment.';
    return new Problem('UNAVAILABLE', detail, { retryAfter: 2, cause: error, quiet: true });
  }
  if (isTransient(error) || isRedisAway(error)) return unavailable('A store is away.', error);
  const { status, expose } = (error ?? {}) as { status?: unknown; expose?: unknown };
  if (status === 413)
    return new Problem('PAYLOAD_TOO_LARGE', 'A body may have 16 KB at most.', { cause: error });
  if (status === 415)
    return new Problem('UNSUPPORTED_MEDIA_TYPE', 'Send the body as application/json.', { cause: error });
  // 403: of a path that leads out of the folder whose files are served.
  if (status === 404 || (status === 403 && expose === true))
    return new Problem('NOT_FOUND', 'There is nothing at this address.', { cause: error });
  if (status === 400 || (expose === true && typeof status === 'number' && status > 400 && status < 500))
    return new Problem(
      'INVALID_REQUEST',
      'The request is not valid: its address or headers cannot be read.',
      { cause: error },
    );
  return new Problem(
    'INTERNAL_ERROR',
    'Something went wrong on our side. Tell the operator the X-Request-Id.',
    { cause: error },
  );
}

/** Answers with a problem: with a page to those who came with a browser, with JSON to all others. */
export function sendProblem(ctx: Koa.Context, problem: Problem, requestId: string, log: Logger): void {
  if (problem.status >= 500 && !problem.options.quiet) {
    const level = problem.code === 'UNAVAILABLE' ? 'warn' : 'error';
    log[level](
      { err: problem.cause ?? problem, requestId, method: ctx.method, path: ctx.path },
      problem.message,
    );
  }
  ctx.status = problem.status;
  ctx.set(problem.headers);
  ctx.remove('ETag');
  ctx.set('Cache-Control', 'no-store');
  const { problemPage: ownPage, section } = ctx.state as {
    problemPage?: typeof problemPage;
    section?: string;
  };
  // Below /api/v1 always JSON: HTTP libraries of some languages ask for HTML first, whatever they are used for.
  const page = ownPage ?? (section === '' && wantsPage(ctx) ? problemPage : undefined);
  if (page) {
    ctx.body = page(problem, requestId);
    ctx.type = 'text/html; charset=utf-8';
    return;
  }
  ctx.body = JSON.stringify(problem.toBody(ctx.path));
  ctx.type = 'application/problem+json';
}
