import { watchedId, type Watched } from '../boards/board-feeds.ts';

/** Rooms of the Socket.IO server: who is in one hears what is sent to it. */
export const boardRoom = (board: Watched): string => `board:${watchedId(board)}`;
export const userRoom = (userId: string): string => `user:${userId}`;
export const spectatorRoom = (userId: string): string => `spectators:${userId}`;
