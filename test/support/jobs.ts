import { JobSignatures } from '../../common/job-signatures.ts';
import type { CompletionJob } from '../../common/queues.ts';
import { ACTION_TOKEN_SECRET } from './system.ts';

/** As the API of a test system signs jobs. */
export const testSignatures = new JobSignatures([ACTION_TOKEN_SECRET]);

/** A client-signed completion of a user's, as the API would have put it into the line: worth 10 on game1 unless said otherwise. */
export const signedJob = (
  userId: string,
  actionId: string,
  { points = 10, leaderboard = 'game1', acceptedAt = Date.now() } = {},
): CompletionJob =>
  testSignatures.sign<CompletionJob>({
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
