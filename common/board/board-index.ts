import { rankThresholds } from '../achievements.ts';
import { newId } from '../ids.ts';
import { loadScript, scriptCaller, serverRun, unwrap, type Redis } from '../redis.ts';
import {
  boardId,
  BoardIncomplete,
  type BoardPage,
  type BoardRef,
  type BoardSource,
  type Entry,
  type StandingsAnswer,
} from './board.ts';

const lua = (name: string) => loadScript(new URL(`lua/${name}.lua`, import.meta.url), 2);
const scripts = {
  apply: lua('apply'),
  begin: lua('begin'),
  load: lua('load'),
  complete: lua('complete'),
  renew: lua('renew'),
  page: lua('page'),
  standings: lua('standings'),
  after: lua('after'),
};

/**
 * A user's absolute score on a board; `reachedAt` null takes the user off it. The score `stray` removes an entry of that
 * user and time that is not the one the user's own record names: only tampering makes such.
 */
export interface ScoreChange {
  readonly userId: string;
  readonly score: number | 'stray';
  readonly reachedAt: number | null;
}

/** An entry as the ranked set holds it. */
export interface IndexedEntry extends Entry {
  readonly named: boolean;
}

/** What is to be put into a board. */
export interface BoardChanges {
  readonly board: BoardRef;
  /** made one after the other; the ranks before and after each are told */
  readonly steps: readonly ScoreChange[];
  /** each user once, risen or as before; who comes near the top is told the ranks, and the others cost Redis far less */
  readonly rest?: readonly ScoreChange[];
}

/** 1-based ranks before and after a change, null for none. */
export interface RankMove {
  readonly previous: number | null;
  readonly current: number | null;
}

/** What became of a board's changes. */
export interface AppliedChanges {
  /** False while the board is being made again: ranks are not to be trusted then. */
  readonly ready: boolean;
  /** for each step, in order */
  readonly ranks: readonly RankMove[];
  /** those of the rest that came near the top, by their place in it */
  readonly nearTop: readonly (RankMove & { readonly place: number })[];
}

/** Nobody is told of ranks below this one. */
const NEAR_TOP = Math.max(...rankThresholds);

/** What `kept` says once everything has been put back. */
const WHOLE = '1';

/** Rows that one call of `load` takes: some 3 ms, in which Redis serves nobody else. */
const LOAD_ROWS = 1000;
/** An attempt to make a board again that loaded nothing for so long is taken for dead: as long as a statement of Postgres may take. */
const SILENCE_S = 10;

/** Closed periods stay in Redis for a while, for those who look at yesterday. */
const KEEP_CLOSED_MS = 2 * 86_400_000;
/** When a board's keys expire, ms since the epoch; 0 for never. */
export const expiry = (board: BoardRef): number =>
  board.endsAt === null ? 0 : board.endsAt + KEEP_CLOSED_MS;

/**
 * What versions start at: the clock, above all that were counted up from an earlier one. A board that is laid out before
 * its period begins starts above what the period before it may count until then, because its watchers go on with it.
 */
const firstVersion = (board: BoardRef, now: number): number => Math.max(now, board.startsAt);

const TIME_DIGITS = 12;
const HALF = 2 ** 24;
const halfDigits = (half: number): string => half.toString(16).padStart(TIME_DIGITS / 2, '0');
/** In halves, because V8 takes three times as long for a number of more than 31 bits. */
export const encodeTime = (ms: number): string => halfDigits(Math.floor(ms / HALF)) + halfDigits(ms % HALF);
const decodeTime = (digits: string): number =>
  /^[\da-f]{12}$/.test(digits) ? Number.parseInt(digits, 16) : NaN;
/** @returns the entry that a member of a ranked set and its score stand for */
const decodeMember = (member: string, negatedScore: string): Entry => ({
  userId: member.slice(TIME_DIGITS),
  score: 0 - Number(negatedScore),
  reachedAt: decodeTime(member.slice(0, TIME_DIGITS)),
});

/**
 * Rows for a script: user ids, negated scores, times. As one argument, because to make three of each row, and to tell them
 * apart again, costs more than the rows themselves.
 */
const columns = (rows: readonly ScoreChange[]): string =>
  JSON.stringify([
    rows.map(({ userId }) => userId),
    rows.map(({ score }) => (score === 'stray' ? score : `${0 - score}`)),
    rows.map(({ reachedAt }) => (reachedAt === null ? '' : encodeTime(reachedAt))),
  ]);

/** The fields that events bear of their board, as the inside of a JSON object. */
const eventFields = (board: BoardRef): string => JSON.stringify(board).slice(1, -1);

/** Whether an entry is one that Laurel wrote. */
const isReadable = ({ userId, score, reachedAt }: Entry): boolean =>
  userId !== '' && Number.isSafeInteger(score) && !Number.isNaN(reachedAt);
const entriesOf = (flat: readonly string[]): Entry[] => {
  const entries: Entry[] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) entries.push(decodeMember(flat[i] ?? '', flat[i + 1] ?? ''));
  return entries;
};
const rankOf = (zeroBased: unknown): number | null => (Number(zeroBased) < 0 ? null : Number(zeroBased) + 1);

/** Boards in Redis: a sorted set and a hash each. Everything in them can be made again from Postgres. */
export class BoardIndex implements BoardSource {
  readonly #redis: Redis;
  readonly #scripts: ReturnType<typeof scriptCaller>;

  constructor(redis: Redis) {
    this.#redis = redis;
    this.#scripts = scriptCaller(redis, Object.values(scripts));
  }

  /**
   * Applies changes to boards in one round trip. Older states than the board's own are passed over, so that any call may be
   * repeated.
   */
  async apply(changes: readonly BoardChanges[], options?: { overwrite: boolean }): Promise<AppliedChanges[]> {
    const now = Date.now();
    const replies = await this.#scripts.pipeline(
      changes.map(({ board, steps, rest = [] }) => [
        scripts.apply,
        this.#redis.names.ranked(board),
        this.#redis.names.members(board),
        now,
        expiry(board),
        this.#redis.names.channels.boards,
        eventFields(board),
        options?.overwrite ? '1' : '0',
        columns(steps),
        columns(rest),
        NEAR_TOP,
      ]),
    );
    return replies.map((reply, i) => {
      const [ready, ...figures] = reply as number[];
      const steps = changes[i]?.steps.length ?? 0;
      const move = (at: number): RankMove => ({
        previous: rankOf(figures[at]),
        current: rankOf(figures[at + 1]),
      });
      const nearTop: (RankMove & { place: number })[] = [];
      for (let at = 2 * steps; at < figures.length; at += 3)
        nearTop.push({ place: figures[at] ?? 0, ...move(at + 1) });
      return { ready: ready === 1, ranks: Array.from({ length: steps }, (_, j) => move(2 * j)), nearTop };
    });
  }

  /**
   * Begins to make a board again.
   *
   * @param maker a name of the caller's own, under which nobody else makes boards
   * @returns the name of this attempt, for `load` and `markComplete`; undefined when the board is complete already, or is
   *   being made by somebody else who loaded something a short while ago
   */
  async begin(board: BoardRef, maker = newId()): Promise<string | undefined> {
    const begun = await this.#scripts.call(
      scripts.begin,
      this.#redis.names.ranked(board),
      this.#redis.names.members(board),
      maker,
      expiry(board),
      SILENCE_S,
    );
    return begun === 1 ? maker : undefined;
  }

  /**
   * Copies rows of Postgres, each user once, into a board that is being made again. Redis takes them in portions, between
   * which it serves others.
   *
   * @returns false when the attempt is over
   */
  async load(board: BoardRef, attempt: string, rows: readonly Entry[]): Promise<boolean> {
    const portions = Array.from({ length: Math.ceil(rows.length / LOAD_ROWS) }, (_, i) =>
      rows.slice(i * LOAD_ROWS, (i + 1) * LOAD_ROWS),
    );
    const replies = await this.#scripts.pipeline(
      portions.map((portion) => [
        scripts.load,
        this.#redis.names.ranked(board),
        this.#redis.names.members(board),
        attempt,
        expiry(board),
        columns(portion),
      ]),
    );
    return replies.every((loaded) => loaded === 1);
  }

  /** Declares a board complete that was made again. @returns false when the attempt is over */
  async markComplete(board: BoardRef, attempt: string): Promise<boolean> {
    const completed = await this.#scripts.call(
      scripts.complete,
      this.#redis.names.ranked(board),
      this.#redis.names.members(board),
      attempt,
      firstVersion(board, Date.now()),
      expiry(board),
      this.#redis.names.channels.boards,
      eventFields(board),
    );
    return completed === 1;
  }

  /** Raises the versions of boards above any that was handed out before, and has watchers read them anew. */
  async renew(boards: readonly BoardRef[]): Promise<void> {
    const now = Date.now();
    await this.#scripts.pipeline(
      boards.map((board) => [
        scripts.renew,
        this.#redis.names.ranked(board),
        this.#redis.names.members(board),
        firstVersion(board, now),
        this.#redis.names.channels.boards,
        eventFields(board),
      ]),
    );
  }

  /** The run of the Redis server that answers: another one after every restart and fail-over. */
  serverRun(): Promise<string> {
    return serverRun(this.#redis);
  }

  /**
   * Whether Redis lacks what is kept in Redis only: it has lost its data, or is new. It stays so, for every process that asks,
   * until one has put everything back: the first one told may die before it has.
   */
  async wasEmptied(): Promise<boolean> {
    return (await this.#redis.get(this.#redis.names.kept)) !== WHOLE;
  }

  /** Says that everything is about to be put back. */
  async beginRestoring(): Promise<void> {
    await this.#redis.set(this.#redis.names.kept, 'restoring');
  }

  /** Says that everything has been put back, unless Redis has lost its data once more since `beginRestoring`. */
  async endRestoring(): Promise<void> {
    await this.#redis.set(this.#redis.names.kept, WHOLE, 'XX');
  }

  /** The server run for which the boards were last held against Postgres; null when Redis does not know. */
  async reconciledRun(): Promise<string | null> {
    return this.#redis.get(this.#redis.names.reconciledRun);
  }

  async rememberReconciledRun(run: string): Promise<void> {
    await this.#redis.set(this.#redis.names.reconciledRun, run);
  }

  /** Which of the boards are missing from Redis, wholly or in part. */
  async incomplete(boards: readonly BoardRef[]): Promise<BoardRef[]> {
    const pipeline = this.#redis.pipeline();
    for (const board of boards)
      pipeline.zscore(this.#redis.names.ranked(board), '~').hexists(this.#redis.names.members(board), '~v');
    const replies = unwrap(await pipeline.exec());
    return boards.filter((_, i) => replies[2 * i] === null || replies[2 * i + 1] === 0);
  }

  async page(board: BoardRef, offset: number, limit: number): Promise<BoardPage> {
    const reply = (await this.#scripts.call(
      scripts.page,
      this.#redis.names.ranked(board),
      this.#redis.names.members(board),
      offset,
      limit,
    )) as string[];
    const [version, total, updatedAt, ...flat] = reply;
    if (version === undefined) throw new BoardIncomplete(`${boardId(board)} is not complete in Redis`);
    return {
      version: Number(version),
      total: Number(total),
      updatedAt: Number(updatedAt),
      offset,
      entries: await this.#read(board, flat, version, updatedAt),
    };
  }

  async after(board: BoardRef, last: Entry, limit: number): Promise<BoardPage> {
    const reply = (await this.#scripts.call(
      scripts.after,
      this.#redis.names.ranked(board),
      this.#redis.names.members(board),
      0 - last.score,
      encodeTime(last.reachedAt) + last.userId,
      limit,
    )) as string[];
    const [version, total, updatedAt, offset, ...flat] = reply;
    if (version === undefined) throw new BoardIncomplete(`${boardId(board)} is not complete in Redis`);
    return {
      version: Number(version),
      total: Number(total),
      updatedAt: Number(updatedAt),
      offset: Number(offset),
      entries: await this.#read(board, flat, version, updatedAt),
    };
  }

  /**
   * Entries as a script returned them.
   *
   * @param numbers what else of the board must be whole numbers
   * @throws BoardIncomplete when another program has written into the board: it is dropped, and made again
   */
  async #read(
    board: BoardRef,
    flat: readonly string[],
    ...numbers: readonly (string | undefined)[]
  ): Promise<Entry[]> {
    const entries = entriesOf(flat);
    if (numbers.every((one) => Number.isSafeInteger(Number(one))) && entries.every(isReadable))
      return entries;
    await this.#drop(board);
    throw new BoardIncomplete(`${boardId(board)} held in Redis what Laurel does not keep there`);
  }

  async #drop(board: BoardRef): Promise<void> {
    await this.#redis.unlink(this.#redis.names.ranked(board), this.#redis.names.members(board));
  }

  /**
   * All entries of a board in rank order, in chunks; one that moves meanwhile may be seen twice, or not at all. `named`
   * tells whether it is the one that the user's own record names; another is a stray.
   */
  async *rows(board: BoardRef, size: number): AsyncGenerator<IndexedEntry[]> {
    for (let offset = 0; ; offset += size) {
      const flat = await this.#redis.zrange(
        this.#redis.names.ranked(board),
        String(offset),
        String(offset + size - 1),
        'WITHSCORES',
      );
      const found: { member: string; score: string }[] = [];
      for (let i = 0; i + 1 < flat.length; i += 2) {
        const [member, score] = [flat[i] ?? '', flat[i + 1] ?? ''];
        if (member !== '~') found.push({ member, score });
      }
      if (!found.every(({ member, score }) => isReadable(decodeMember(member, score))))
        return this.#drop(board);
      if (found.length > 0) {
        const users = found.map(({ member }) => member.slice(TIME_DIGITS));
        const times = await this.#redis.hmget(this.#redis.names.members(board), ...users);
        yield found.map(({ member, score }, i) => {
          const named = times[i] === member.slice(0, TIME_DIGITS);
          return Object.assign(decodeMember(member, score), { named });
        });
      }
      if (flat.length < 2 * size) return;
    }
  }

  /** The entries of some users, by user id. */
  async entriesOf(board: BoardRef, userIds: readonly string[]): Promise<Map<string, Entry>> {
    const times = await this.#redis.hmget(this.#redis.names.members(board), ...userIds);
    const members = userIds.map((userId, i) => `${times[i] ?? ''}${userId}`);
    const scores = await this.#redis.zmscore(this.#redis.names.ranked(board), ...members);
    const entries = new Map<string, Entry>();
    members.forEach((member, i) => {
      const score = scores[i];
      if (times[i] && score !== null && score !== undefined)
        entries.set(userIds[i] ?? '', decodeMember(member, score));
    });
    return entries;
  }

  async standings(board: BoardRef, userIds: readonly string[], neighbors: number): Promise<StandingsAnswer> {
    const reply = (await this.#scripts.call(
      scripts.standings,
      this.#redis.names.ranked(board),
      this.#redis.names.members(board),
      userIds.length === 1 ? neighbors : 0,
      ...userIds,
    )) as string[];
    const [version, total, , ...rest] = reply;
    if (version === undefined) throw new BoardIncomplete(`${boardId(board)} is not complete in Redis`);
    const around = rest.slice(3 * userIds.length);
    return {
      version: Number(version),
      total: Number(total),
      standings: userIds.map((userId, i) => ({
        userId,
        rank: rankOf(rest[3 * i]),
        score: 0 - Number(rest[3 * i + 1]),
        reachedAt: Number.parseInt(rest[3 * i + 2] || '0', 16),
      })),
      neighbors: {
        offset: Number(around[0] ?? 0),
        entries: await this.#read(board, around.slice(1), version),
      },
    };
  }
}
