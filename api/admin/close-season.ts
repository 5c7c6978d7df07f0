import Joi from 'joi';
import { GLOBAL_BOARD } from '../../common/board/board.ts';
import type { Catalog } from '../../common/catalog.ts';
import { announce } from '../../common/events.ts';
import { delay } from '../../common/patience.ts';
import { spanOf, type Period } from '../../common/periods.ts';
import type { Database } from '../../common/postgres.ts';
import type { Queues } from '../../common/queues.ts';
import type { Redis } from '../../common/redis.ts';
import { Problem } from '../http/problem.ts';
import { route, signedIn, type Route } from '../http/route.ts';
import * as schemas from '../http/schemas.ts';
import { audit } from './audit.ts';

export interface CloseSeasonDeps {
  readonly db: Database;
  readonly redis: Redis;
  readonly queues: Queues;
  readonly catalog: Catalog;
}

/** How long an administrator waits for the standings to be frozen, and how often they are looked for, milliseconds. */
const WAIT_MS = 5000;
const LOOK_MS = 250;

/** Ends the present period of a leaderboard by hand. */
export function closeSeason({ db, redis, queues, catalog }: CloseSeasonDeps): Route {
  /** @returns how many places were frozen; null when they are not yet */
  async function frozenPlaces(periodId: number): Promise<number | null> {
    const until = performance.now() + WAIT_MS;
    for (;;) {
      const period = await db<{ id: number; archived_at: Date | null }>('board_periods')
        .where({ id: periodId })
        .first('archived_at');
      if (period?.archived_at) {
        const [kept] = await db('standings')
          .where({ board_period_id: periodId })
          .count<{ count: string }[]>();
        return Number(kept?.count ?? 0);
      }
      if (performance.now() > until) return null;
      await queues.requestMaintenance('close', {}).catch(() => undefined); // it runs every few seconds as well
      await delay(LOOK_MS);
    }
  }

  return route<{ key: string }, unknown, { period: Period; reason?: string }>({
    tag: 'Administration',
    access: 'admin',
    idempotent: 'optional',
    method: 'post',
    path: '/admin/leaderboards/:key/close',
    operationId: 'closeSeason',
    summary: 'End a leaderboard’s present period now',
    description:
      'What is accepted from now on does not count in it; its standings are frozen as soon as what was accepted before is applied. Closing `all` ends the leaderboard itself, until its `closesAt` is set to null or put off. Closing a period that is closed changes nothing.',
    params: Joi.object({ key: schemas.boardKey.required() }),
    body: Joi.object({ period: schemas.period.required(), reason: Joi.string().min(1).max(500) }),
    responses: {
      200: {
        description: 'Closed, and its standings frozen',
        schema: Joi.object({
          leaderboard: schemas.boardKey.required(),
          period: schemas.period.required(),
          closedAt: schemas.instant.required(),
          places: schemas
            .nullable(Joi.number().integer().min(0))
            .description(
              'how many places were frozen; null while what was accepted before is still being applied',
            )
            .required(),
        }),
      },
    },
    problems: ['LEADERBOARD_NOT_FOUND'],
    async handle(input) {
      const { period, reason } = input.body;
      const { key } = input.params;
      if (!catalog.leaderboard(key)?.periods.includes(period)) {
        throw new Problem(
          'LEADERBOARD_NOT_FOUND',
          'There is no such leaderboard, or it does not have this period. GET /admin/leaderboards lists them.',
        );
      }
      if (key === GLOBAL_BOARD && period === 'all') {
        throw new Problem(
          'INVALID_REQUEST',
          'The global leaderboard has no end: every completion counts on it.',
        );
      }
      const { id, closedAt } = await input.once(async (trx) => {
        // Batches are waited for, and none begins: all that is applied was accepted before the clock is read.
        await trx.raw('select lock_calendar()');
        const [seconds, micros] = await redis.time();
        const now = Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
        const span = spanOf(period, now);
        const bounds = { leaderboard: key, period, starts_at: new Date(span.startsAt) };
        await trx('board_periods')
          .insert({ ...bounds, ends_at: span.endsAt === null ? null : new Date(span.endsAt) })
          .onConflict()
          .ignore();
        const find = (): Promise<{ id: number; closed_at: Date | null } | undefined> =>
          trx('board_periods').where(bounds).first('id', 'closed_at');
        const before = await find();
        if (before && !before.closed_at) {
          await trx.raw('select close_board_period(?, ?)', [before.id, now]);
          if (period === 'all')
            await trx('leaderboards')
              .where({ key })
              .update({ closes_at: new Date(now), updated_at: new Date() });
          await audit(trx, {
            actor: signedIn(input).profile.userId,
            action: 'season.close',
            subject: key,
            details: {
              period,
              closedAt: new Date(now).toISOString(),
              ...(reason !== undefined && { reason }),
            },
          });
        }
        return { id: before?.id ?? 0, closedAt: before?.closed_at?.getTime() ?? now };
      });
      await announce(redis, { kind: 'catalog' });
      const places = await frozenPlaces(id);
      await catalog.reload();
      return {
        status: 200,
        body: { leaderboard: key, period, closedAt: schemas.iso(closedAt), places },
        ...(places === null && { provisional: true as const }),
      };
    },
  });
}
