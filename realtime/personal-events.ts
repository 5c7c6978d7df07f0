import { presentAction, type ActionViews } from '../common/action-views.ts';
import type { Viewer } from '../common/board/visibility.ts';
import type { ActionEvent, CompletionEvent } from '../common/events.ts';
import type { Logger } from '../common/logger.ts';
import type { UserDirectory } from '../common/users/user-directory.ts';
import { spectatorRoom, userRoom } from './sockets/rooms.ts';

export interface PersonalEventDeps {
  readonly sockets: {
    inhabited(room: string): boolean;
    /** @param hears whether somebody in the rooms may hear it; everybody when not given */
    tell(
      rooms: readonly string[],
      event: string,
      payload: unknown,
      hears?: (viewer: Viewer) => boolean,
    ): void;
  };
  /** whether a viewer may hear of what happens on a leaderboard */
  readonly mayHear: (leaderboard: string, viewer: Viewer) => boolean;
  readonly directory: UserDirectory;
  readonly actions: ActionViews;
  readonly log: Logger;
}

const iso = (ms: number): string => new Date(ms).toISOString();

/** Tells users what happens to them, and those who follow them what they may know of it. */
export class PersonalEvents {
  readonly #deps: PersonalEventDeps;
  /** A user's updates must arrive in their order, although names may have to be looked up. */
  #line: Promise<void> = Promise.resolve();

  constructor(deps: PersonalEventDeps) {
    this.#deps = deps;
  }

  completed(completions: readonly CompletionEvent[]): void {
    const { sockets, log } = this.#deps;
    const heard = completions.filter(
      ({ userId }) => sockets.inhabited(userRoom(userId)) || sockets.inhabited(spectatorRoom(userId)),
    );
    if (heard.length === 0) return;
    this.#line = this.#line
      .then(async () => {
        for (const completion of heard) await this.#tell(completion);
      })
      .catch((error: unknown) => log.warn({ err: error }, 'personal events were not sent'));
  }

  /** An action was started or cancelled. */
  acted({ userId, actionId, type, leaderboard, status, at }: Extract<ActionEvent, { kind: 'action' }>): void {
    const payload = { userId, actionId, type, status, timestamp: iso(at) };
    this.#deps.sockets.tell([spectatorRoom(userId)], 'player:action', payload, this.#hearersOf(leaderboard));
  }

  /** @returns nothing where everybody may hear: nobody needs to be asked */
  #hearersOf(leaderboard: string): ((viewer: Viewer) => boolean) | undefined {
    const { mayHear } = this.#deps;
    return mayHear(leaderboard, undefined) ? undefined : (viewer) => mayHear(leaderboard, viewer);
  }

  /** An action that had been answered 202 has ended. */
  async ended({ userId, actionId }: Extract<ActionEvent, { kind: 'result' }>): Promise<void> {
    const { sockets, actions, log } = this.#deps;
    if (!sockets.inhabited(userRoom(userId))) return;
    try {
      const action = await actions.find(userId, actionId);
      if (action) sockets.tell([userRoom(userId)], 'action:result', presentAction(action));
    } catch (error) {
      log.warn({ err: error, actionId }, 'the end of an action could not be told; its status URL tells it');
    }
  }

  async #tell(completion: CompletionEvent): Promise<void> {
    const { sockets, directory } = this.#deps;
    const { userId, actionId, leaderboard, score, rank, type, completedAt: timestamp } = completion;
    const profile = await directory.find(userId).catch(() => undefined);
    const [own, spectators] = [userRoom(userId), spectatorRoom(userId)];
    const update = {
      type: 'SCORE_CHANGED',
      userId,
      username: profile?.username ?? userId,
      leaderboard,
      score: score.current,
      delta: score.delta,
      oldRank: rank.previous,
      newRank: rank.current,
      timestamp,
    };
    const action = { userId, actionId, type, status: 'completed', timestamp };
    const hearers = this.#hearersOf(leaderboard);
    sockets.tell([own, spectators], 'score:update', update, hearers);
    sockets.tell([spectators], 'player:action', action, hearers);
    for (const milestone of completion.milestones ?? []) {
      const payload = { ...milestone, timestamp };
      sockets.tell([own], 'rank:achieved', payload, this.#hearersOf(milestone.leaderboard));
    }
    for (const { key, title } of completion.achievements ?? [])
      sockets.tell([own], 'achievement:unlocked', { key, title, timestamp });
  }
}
