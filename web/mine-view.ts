import type { Board, LaurelClient, Period, Standing } from '../client/index.ts';
import { avatar } from './avatar.ts';
import { hiddenText, make } from './dom.ts';
import { count, isolated, number } from './words.ts';

/** A busy board must not make every visitor ask where he stands at every change, ms. */
const PAUSE_MS = 4_000;

interface Listeners {
  /** The visitor's rank is not what it was. */
  rank(rank: number): void;
  /** So many players are on the board: newer than what the board itself tells. */
  total(total: number): void;
}

/** Where the visitor stands, pinned below the board while he is not on it. */
export class MineView {
  readonly #element: HTMLElement;
  readonly #client: LaurelClient;
  #where: { leaderboard: string; period: Period };
  #board: Board | null = null;
  #standing: Standing | null = null;
  #asked = 0;
  #askedAt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #on: Listeners;

  constructor(
    element: HTMLElement,
    client: LaurelClient,
    where: { leaderboard: string; period: Period },
    on: Listeners,
  ) {
    this.#element = element;
    this.#client = client;
    this.#where = where;
    this.#on = on;
  }

  /** Another board, or another visitor. */
  reset(where: { leaderboard: string; period: Period }): void {
    this.#asked += 1; // an answer about the one before is of no interest
    this.#where = where;
    this.#board = null;
    this.#standing = null;
    this.#render();
    this.refresh();
  }

  /** The board has changed: so may the visitor's rank have. */
  boardChanged(board: Board): void {
    this.#board = board;
    this.#render();
    if (this.#isInside()) return;
    const due = Math.max(0, this.#askedAt + PAUSE_MS - Date.now());
    this.#timer ??= setTimeout(() => {
      this.refresh();
    }, due);
  }

  /** Asks now. */
  refresh(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#client.user) void this.#ask();
  }

  async #ask(): Promise<void> {
    const turn = ++this.#asked;
    this.#askedAt = Date.now();
    const board = this.#board;
    const { leaderboard, period } = this.#where;
    try {
      const standing = await this.#client.standing(leaderboard, 'me', { period, neighbors: 1 });
      if (turn !== this.#asked) return;
      const before = this.#standing?.rank;
      this.#standing = standing;
      this.#render();
      if (board === this.#board) this.#on.total(standing.total);
      if (standing.rank !== null && before !== undefined && before !== standing.rank)
        this.#on.rank(standing.rank);
    } catch {
      // What was known stands; the next change asks again.
      return;
    }
  }

  #isInside(): boolean {
    const me = this.#client.user?.userId;
    return this.#board?.entries.some((entry) => entry.userId === me) ?? false;
  }

  #render(): void {
    const me = this.#client.user;
    const standing = this.#standing;
    this.#element.hidden = !me || !standing || standing.userId !== me.userId || this.#isInside();
    if (!me || !standing || this.#element.hidden) return;
    const rank = make('span', 'mine__rank', standing.rank === null ? '–' : number(standing.rank));
    rank.prepend(hiddenText('Your rank: '));
    const who = make('span', 'mine__who');
    const line = make('span', 'mine__line');
    const name = make('bdi', 'mine__name', standing.username);
    name.dir = 'auto';
    line.append(name, make('span', 'mine__you', 'You'));
    who.append(line, make('span', 'mine__hint', this.#hint(standing)));
    const score = make('span', 'mine__score', number(standing.score));
    score.append(hiddenText(' points'));
    this.#element.dataset['rank'] = standing.rank === null ? '' : String(standing.rank);
    this.#element.replaceChildren(rank, avatar({ ...me, username: standing.username }), who, score);
  }

  #hint(standing: Standing): string {
    const { rank, score } = standing;
    const isOver = (this.#board?.state ?? 'open') !== 'open';
    if (rank === null) return isOver ? 'No points here.' : 'No points here yet.';
    if (isOver) return `Ahead of ${count(standing.usersBelow ?? 0, 'player')}`;
    const next = standing.neighbors.find((entry) => entry.rank === rank - 1);
    if (next) return `${count(next.score - score + 1, 'point')} to pass ${isolated(next.username)}`;
    const tenth = this.#board?.entries[9];
    if (tenth && tenth.score >= score) return `${count(tenth.score - score + 1, 'point')} to the top 10`;
    return `Ahead of ${count(standing.usersBelow ?? 0, 'player')}`;
  }
}
