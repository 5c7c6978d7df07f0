import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { KoaAdapter } from '@bull-board/koa';
import type { Queue } from 'bullmq';
import type Koa from 'koa';
import type { Database } from '../../common/postgres.ts';
import type { Queues } from '../../common/queues.ts';
import { Problem } from '../http/problem.ts';
import type { SecurityLog } from '../http/security-log.ts';
import { audit } from './audit.ts';
import { pagePolicy } from './session.ts';
import { SIGN_OUT_PATH } from './sign-in-page.ts';

const BASE = '/admin/queues';
/** The page's address. */
export const BULL_BOARD_PATH = `${BASE}/`;

/** What Bull Board's page offers. (The adapter's type lacks the second option, which its base class documents.) */
const retriesOfFailed = { allowRetries: true, allowCompletedRetries: false };

export interface BullBoardDeps {
  readonly queues: Queues;
  readonly db: Database;
  readonly security: SecurityLog;
}

/**
 * Bull Board over every queue, to look at jobs and to retry failed ones. Whatever else it offers is refused here, whatever its page
 * shows: a job that somebody adds, changes, delays or removes would write scores, lose them, or break the order of a user's
 * completions. (Its own read-only mode forbids retries too.) Each retry is a line of the audit log, written before the job runs.
 *
 * It knows no sign-in of its own: mount it behind the operators' session only.
 */
export function bullBoard({ queues, db, security }: BullBoardDeps): Koa.Middleware {
  const server = new KoaAdapter();
  server.setBasePath(BASE);
  createBullBoard({
    queues: queues.all.map((queue) => new BullMQAdapter(queue, retriesOfFailed)),
    serverAdapter: server,
    options: {
      uiConfig: {
        boardTitle: 'Laurel',
        hideRedisDetails: true,
        miscLinks: [{ text: 'Sign out', url: SIGN_OUT_PATH }],
      },
    },
  });
  const board = server.registerPlugin();

  /** @throws FORBIDDEN for all but a retry of failed jobs */
  async function admitRetry(ctx: Koa.Context): Promise<void> {
    const retry = /^\/admin\/queues\/api\/queues\/([^/]+)\/(?:([^/]+)\/retry|retry\/failed)$/.exec(ctx.path);
    const queue = queues.all.find(({ name }) => name === decoded(retry?.[1]));
    if (ctx.method !== 'PUT' || !queue) throw onlyRetries();
    const jobId = decoded(retry?.[2]);
    const jobs = jobId === undefined ? await failedIn(queue) : [jobId];
    if (jobId !== undefined && (await queue.getJobState(jobId)) !== 'failed') throw onlyRetries();
    const userId = String(ctx.state['userId']);
    await audit(db, {
      actor: userId,
      action: 'job.retry',
      subject: jobId ?? null,
      details: { queue: queue.name, jobs },
    });
    security.record('admin_action', {
      ip: ctx.state['ip'] as string,
      userId,
      method: ctx.method,
      route: jobId === undefined ? `${BASE}/:queue/retry/failed` : `${BASE}/:queue/:job/retry`,
      queue: queue.name,
    });
  }

  return async (ctx, next) => {
    if (ctx.method !== 'GET' && ctx.method !== 'HEAD') await admitRetry(ctx);
    await board(ctx, next);
    if (typeof ctx.body === 'string' && ctx.response.is('html')) {
      ctx.set('Content-Security-Policy', pagePolicy());
      ctx.body = withoutForeignParts(ctx.body);
    }
  };
}

const onlyRetries = (): Problem =>
  new Problem(
    'FORBIDDEN',
    'Jobs can be looked at here, and failed ones retried; nothing else. To change a score, use the API: POST /api/v1/admin/users/{userId}/adjustments.',
  );

function decoded(part: string | undefined): string | undefined {
  try {
    return part === undefined ? undefined : decodeURIComponent(part);
  } catch {
    return undefined;
  }
}

/** So many ids of jobs that are retried at once are written down. */
const MOST_IDS = 1000;
const failedIn = async (queue: Queue): Promise<string[]> =>
  (await queue.getJobs(['failed'], 0, MOST_IDS - 1)).flatMap(({ id }) => (id === undefined ? [] : [id]));

/**
 * Bull Board's page without the style sheet that it loads from a font service, and without the inline styles of its loading sign:
 * the content security policy would block both, and tell so on the console of every visit.
 */
const withoutForeignParts = (html: string): string =>
  html
    .replaceAll(/<link href="https:[^>]*>/g, '')
    .replace(/<div id="root">[\s\S]*?<\/style>\s*<\/div>/, '<div id="root">Loading</div>');
