import { createHmac, createSecretKey, hkdfSync, timingSafeEqual, type KeyObject } from 'node:crypto';
import type { CompletionJob, CorrectionJob } from './queues.ts';

type SignedJob = CompletionJob | CorrectionJob;

/**
 * What a signature stands for: who gets what, by which right, and who is told. In a fixed order, because Postgres keeps payloads
 * with their members in another. Not the address, the user agent and the
 * metadata, which change no score and are cleared when a user is erased.
 */
function signedText(job: SignedJob): string {
  return JSON.stringify(
    job.kind === 'completion'
      ? [
          'completion',
          job.actionId,
          job.userId,
          job.acceptedAt,
          job.tokenHash,
          job.replyTo,
          job.waitMs,
          job.client && [job.client.type, job.client.leaderboard, job.client.points, job.client.difficulty],
        ]
      : [
          'correction',
          job.correction,
          job.transactionId,
          job.userId,
          job.leaderboard,
          job.delta,
          job.reverses,
          job.reason,
          job.actor,
          job.acceptedAt,
          job.replyTo,
        ],
  );
}

/**
 * Signs jobs that change scores, and tells those that the API signed from others: who can write to Redis, or to a queue by hand,
 * cannot make a score. The keys are derived from ACTION_TOKEN_SECRETS, which every tier has.
 */
export class JobSignatures {
  readonly #keys: readonly KeyObject[];

  /** @param secrets newest first; the first signs, all verify */
  constructor(secrets: readonly string[]) {
    this.#keys = secrets.map((secret) =>
      createSecretKey(Buffer.from(hkdfSync('sha256', secret, '', 'laurel job signature', 32))),
    );
  }

  sign<J extends SignedJob>(job: J): J {
    const [newest] = this.#keys;
    if (!newest) throw new Error('ACTION_TOKEN_SECRETS is empty: jobs cannot be signed.');
    return { ...job, sig: signatureOf(job, newest).toString('base64url') };
  }

  verify(job: SignedJob): boolean {
    if (job.sig === undefined) return false;
    const given = Buffer.from(job.sig, 'base64url');
    return this.#keys.some((key) => {
      const right = signatureOf(job, key);
      return given.length === right.length && timingSafeEqual(given, right);
    });
  }
}

const signatureOf = (job: SignedJob, key: KeyObject): Buffer =>
  createHmac('sha256', key).update(signedText(job)).digest();
