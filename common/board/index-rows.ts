import Joi from 'joi';
import { periods, type Period } from '../periods.ts';
import type { BoardRef } from './board.ts';
import type { ScoreChange } from './board-index.ts';

/** A row of `index_rows`: leaderboard, period, starts at, ends at, user id, score, reached at, hidden. */
export type IndexRow = readonly [string, Period, number, number | null, string, number, number, boolean];

const indexRowSchema = Joi.array()
  .ordered(
    Joi.string().required(),
    Joi.valid(...periods).required(),
    Joi.number().required(),
    Joi.number().allow(null).required(),
    Joi.string().required(),
    Joi.number().min(0).required(),
    Joi.number().required(),
    Joi.boolean().required(),
  )
  .length(8);
export const indexRowsSchema = Joi.array().items(indexRowSchema).required() as unknown as Joi.Schema<
  IndexRow[]
>;

export const boardOfRow = ([leaderboard, period, startsAt, endsAt]: IndexRow): BoardRef => ({
  leaderboard,
  period,
  startsAt,
  endsAt,
});

/** What Redis must hold for a row: hidden users are on no board. */
export const changeOfRow = ([, , , , userId, score, reachedAt, hidden]: IndexRow): ScoreChange => ({
  userId,
  score,
  reachedAt: hidden ? null : reachedAt,
});
