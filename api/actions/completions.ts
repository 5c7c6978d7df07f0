import { keptAddress } from '../../common/client-ip.ts';
import { nameOf, parseResult, type CompletionName } from '../../common/actions.ts';
import type { CompletionReply, CompletionResult, EventListener, Refusal } from '../../common/events.ts';
import { newId } from '../../common/ids.ts';
import type { JobSignatures } from '../../common/job-signatures.ts';
import type { Logger } from '../../common/logger.ts';
import type { CompletionJob, CorrectionJob, Queues } from '../../common/queues.ts';
import type { AdmissionControl, Terms } from '../admission/admission.ts';
import { Problem, unavailable } from '../http/problem.ts';
import type { Actions } from './actions.ts';

/** A completion whose right has been verified. */
export type VerifiedCompletion = Omit<CompletionJob, 'kind' | 'acceptedAt' | 'replyTo' | 'waitMs' | 'sig'>;

/** What a completion is answered with: it counts, or it is on its way and will not be lost. */
export type CompletionAnswer = { readonly result: CompletionResult } | { readonly queued: true };

export interface CompletionsDeps {
  readonly admission: AdmissionControl;
  readonly queues: Queues;
  readonly actions: Actions;
  readonly signatures: JobSignatures;
  readonly log: Logger;
}

/** An action is remembered as under way for this much longer than its caller waits, milliseconds. */
const PENDING_MARGIN_MS = 8000;

/** Sends verified completions to the workers, and waits for what becomes of them. */
export class Completions {
  /** Workers reply to this name: one instance waits, and no other need listen. */
  readonly #instanceId = newId();
  /** by the names of their completions */
  readonly #waiting = new Map<string, ((reply: CompletionReply) => void)[]>();
  readonly #deps: CompletionsDeps;

  constructor(deps: CompletionsDeps) {
    this.#deps = deps;
  }

  async start(events: EventListener): Promise<void> {
    await events.onReplies(this.#instanceId, (replies) => {
      for (const reply of replies) this.#waiting.get(nameOf(reply))?.forEach((resolve) => resolve(reply));
    });
  }

  /** How many requests wait for a worker. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /**
   * Has a completion applied.
   *
   * @param waitMs how long to wait for the result before answering that it is queued
   * @throws ACTION_ALREADY_COMPLETED with the first result, ACTION_IN_PROGRESS, what admission throws, UNAVAILABLE
   */
  async complete(
    completion: VerifiedCompletion,
    terms: Terms,
    waitMs: number,
    setHeaders: (headers: Record<string, string>) => void,
  ): Promise<CompletionAnswer> {
    const { admission, queues, signatures } = this.#deps;
    const { userId, actionId } = completion;
    const admitted = await admission
      .admit({
        kind: completion.client ? 'signed' : 'complete',
        ip: completion.ip ?? '',
        userId,
        actionId,
        holdMs: waitMs + PENDING_MARGIN_MS,
        terms,
      })
      .catch((error: unknown) => this.#orFirstAnswer(error, completion));
    if (!admitted.admitted) {
      const result = parseResult(admitted.known);
      throw result ? alreadyCompleted(result) : inProgress();
    }
    setHeaders(admitted.headers);
    const job = signatures.sign<CompletionJob>({
      ...completion,
      // The address is not known any more once the client has reset the connection.
      ip: keptAddress(completion.ip),
      kind: 'completion',
      acceptedAt: admitted.at,
      replyTo: this.#instanceId,
      waitMs,
    });
    const reply = this.#reply(completion, waitMs);
    try {
      await queues.enqueueCompletion(job);
    } catch (error) {
      reply.cancel();
      await admission.release(userId, actionId, completion.client?.type).catch(() => undefined);
      throw unavailable('The completion cannot be queued right now.', error);
    }
    const answer = await reply.promise;
    return answer ? read(answer) : this.#queued(job);
  }

  /** A correction as the job that workers take: made before it is accepted, and kept in Postgres as it is. */
  correctionJob(correction: Omit<CorrectionJob, 'kind' | 'replyTo' | 'sig'>): CorrectionJob {
    return this.#deps.signatures.sign<CorrectionJob>({
      ...correction,
      kind: 'correction',
      replyTo: this.#instanceId,
    });
  }

  /** Has a correction applied, and waits for the worker's reply. @throws when it refuses, or when Redis is away */
  async correct(job: CorrectionJob, waitMs: number): Promise<void> {
    const reply = this.#reply({ userId: job.userId, actionId: job.transactionId }, waitMs);
    try {
      await this.#deps.queues.enqueueCorrection(job);
    } catch (error) {
      reply.cancel();
      throw error;
    }
    const answer = await reply.promise;
    if (answer && !('result' in answer)) read(answer);
  }

  /** A replay on a board that has closed since is still a replay, also when Redis has forgotten the first answer. */
  async #orFirstAnswer(error: unknown, { userId, actionId }: VerifiedCompletion): Promise<never> {
    if (error instanceof Problem && error.code === 'LEADERBOARD_CLOSED') {
      const known = await this.#deps.actions.find(userId, actionId);
      if (known?.result) throw alreadyCompleted(known.result);
    }
    throw error;
  }

  /** The wait is over without a reply: the acceptance is made durable, so that no fault can lose it. */
  async #queued(job: CompletionJob): Promise<CompletionAnswer> {
    const { actions, queues, log } = this.#deps;
    try {
      const { status, acceptedAt } = await actions.recordAcceptance(job);
      if (status === 'completed') {
        const result = (await actions.find(job.userId, job.actionId))?.result;
        // It may be an earlier request's, of which Redis had forgotten everything.
        if (result && acceptedAt !== job.acceptedAt) throw alreadyCompleted(result);
        if (result) return { result };
      } else if (status !== null && Object.hasOwn(refusals, status)) throw refusals[status as Refusal]();
      // A failed job of the id would make the queue ignore this one.
      else await queues.reviveCompletions([job]);
    } catch (error) {
      if (error instanceof Problem) throw error;
      // Without Postgres the job in Redis, on its disk, is the record.
      log.warn({ err: error, action: job.actionId }, 'an acceptance is recorded in Redis only');
      const late = await actions.keptResult(job.userId, job.actionId);
      if (late) return { result: late };
    }
    return { queued: true };
  }

  #reply(
    completion: CompletionName,
    waitMs: number,
  ): { promise: Promise<CompletionReply | undefined>; cancel: () => void } {
    let settle: (reply: CompletionReply | undefined) => void = () => undefined;
    const promise = new Promise<CompletionReply | undefined>((resolve) => (settle = resolve));
    const name = nameOf(completion);
    const resolvers = this.#waiting.get(name) ?? [];
    resolvers.push(settle);
    this.#waiting.set(name, resolvers);
    const timer = setTimeout(() => settle(undefined), waitMs);
    const cancel = (): void => {
      clearTimeout(timer);
      const left = (this.#waiting.get(name) ?? []).filter((resolve) => resolve !== settle);
      if (left.length > 0) this.#waiting.set(name, left);
      else this.#waiting.delete(name);
    };
    void promise.then(cancel);
    return {
      promise,
      cancel: () => {
        settle(undefined);
        cancel();
      },
    };
  }
}

export const alreadyCompleted = (result: CompletionResult): Problem =>
  new Problem('ACTION_ALREADY_COMPLETED', 'The action counts already; `result` is the first answer.', {
    members: { result },
  });
const inProgress = (): Problem =>
  new Problem(
    'ACTION_IN_PROGRESS',
    'The action is being completed. GET /actions/{actionId} tells what became of it.',
  );
const cancelled = (): Problem =>
  new Problem('ACTION_CANCELLED', 'The action was cancelled and cannot be completed.');

const refusals: Record<Refusal, () => Problem> = {
  cancelled,
  closed: () => new Problem('LEADERBOARD_CLOSED', 'The leaderboard closed before the completion came in.'),
  rejected: () => new Problem('ACTION_REJECTED', 'The action was rejected and cannot be completed.'),
  held: () => new Problem('VERIFICATION_REQUIRED', 'The action is held until it has been verified.'),
  unknown: () => new Problem('ACTION_NOT_FOUND', 'There is no such action. Start it first.'),
  not_yours: () => new Problem('ACTION_ID_TAKEN', 'Another action has this id. Use a new one.'),
  token_mismatch: () =>
    new Problem('ACTION_TOKEN_INVALID', 'This is not the token that the action was started with.'),
};

function read(reply: CompletionReply): CompletionAnswer {
  if (reply.outcome === 'completed') return { result: reply.result };
  throw reply.outcome === 'duplicate' ? alreadyCompleted(reply.result) : refusals[reply.outcome]();
}
