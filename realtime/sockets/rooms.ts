import { watchedId, type Watched } from '../boards/board-feeds.ts';

/** Rooms of the Socket.IO server: who is in one hears what is sent to it. */
export const boardRoom = (board: Watched): string => `board:${watchedId(board)}`;
/** The board of a board's room; undefined for rooms of other kinds. */
export function boardOfRoom(room: string): Watched | undefined {
  const [kind, leaderboard, period] = room.split(':');
  if (kind !== 'board' || leaderboard === undefined) return undefined;
  return { leaderboard, period: period as Watched['period'] };
}
export const userRoom = (userId: string): string => `user:${userId}`;
export const spectatorRoom = (userId: string): string => `spectators:${userId}`;
