import type { CompletionJob } from '../../common/queues.ts';

/** A client-signed completion of a user's, as the API would have put it into the line: worth 10 on game1 unless said otherwise. */
export const signedJob = (
  userId: string,
  actionId: string,
  { points = 10, leaderboard = 'game1', acceptedAt = Date.now() } = {},
): CompletionJob => ({
  kind: 'completion',
  actionId,
  userId,
  acceptedAt,
  tokenHash: null,
  ip: null,
  userAgent: null,
  replyTo: 'nobody',
  client: { type: 'COMPLETE_TASK', leaderboard, points },
});
