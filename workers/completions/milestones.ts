import { rankThresholds } from '../../common/achievements.ts';
import { boardId, type BoardRef } from '../../common/board/board.ts';
import { expiry, type RankMove } from '../../common/board/board-index.ts';
import { loadScript, scriptCaller, type Redis } from '../../common/redis.ts';

const script = loadScript(new URL('lua/milestones.lua', import.meta.url), 1);

/** A user's step on a board. */
export interface Step extends RankMove {
  readonly board: BoardRef;
  readonly userId: string;
}

/** The best threshold that a step crossed, if any: from 150 to 2 it is the top 3. */
function crossed({ previous, current }: Step): number | undefined {
  if (current === null) return undefined;
  return rankThresholds.find((place) => current <= place && (previous === null || previous > place));
}

/** Tells entries into the top of a board from returns to it. Each counts once a user, threshold, board and period. */
export class Milestones {
  readonly #redis: Redis;
  readonly #scripts: ReturnType<typeof scriptCaller>;

  constructor(redis: Redis) {
    this.#redis = redis;
    this.#scripts = scriptCaller(redis, [script]);
  }

  /** Lets a user enter the top of a board for the first time again: what the first time brought was taken back. */
  async forget(board: BoardRef, userId: string): Promise<void> {
    await this.#redis.hdel(this.#redis.names.milestones(board), userId);
  }

  /** @returns those of the steps that entered a threshold for the first time, in order. Costs nothing when none did. */
  async firstEntries<S extends Step>(steps: readonly S[]): Promise<S[]> {
    const byBoard = new Map<string, { board: BoardRef; entries: { step: S; threshold: number }[] }>();
    for (const step of steps) {
      const threshold = crossed(step);
      if (threshold === undefined) continue;
      const id = boardId(step.board);
      const known = byBoard.get(id) ?? { board: step.board, entries: [] };
      known.entries.push({ step, threshold });
      byBoard.set(id, known);
    }
    if (byBoard.size === 0) return [];
    const boards = [...byBoard.values()];
    const replies = await this.#scripts.pipeline(
      boards.map(({ board, entries }) => [
        script,
        this.#redis.names.milestones(board),
        expiry(board),
        ...entries.flatMap(({ step, threshold }) => [step.userId, threshold]),
      ]),
    );
    return boards.flatMap(({ entries }, i) => {
      const firsts = replies[i] as number[];
      return entries.flatMap(({ step }, j) => (firsts[j] === 1 ? [step] : []));
    });
  }
}
