import type { Board, BoardUpdate, LaurelError, LeaderboardInfo, Period } from '../client/index.ts';
import type { BoardWatcher } from '../client/index.ts';
import { LaurelClient, LaurelError as Refusal } from '../client/index.ts';
import { Account } from './account.ts';
import { Announcer } from './announcer.ts';
import { BoardView } from './board-view.ts';
import { demoPlayer } from './demo.ts';
import { byId, make } from './dom.ts';
import { MineView } from './mine-view.ts';
import { refusalNotice, type Notice } from './notice.ts';
import { Play } from './play.ts';
import { closedWords, statusOf } from './status.ts';
import { bindThemeButton } from './theme.ts';
import { addressOf, whereFrom, type Where } from './where.ts';
import { count, isolated, number, ordinal, spanOfDays, spanWords } from './words.ts';

const PERIODS: readonly Period[] = ['all', 'daily', 'weekly', 'monthly'];
const NOW_WORDS: Record<Period, string> = {
  all: 'All time',
  daily: 'Today',
  weekly: 'This week',
  monthly: 'This month',
};
const BEFORE_WORDS: Record<Exclude<Period, 'all'>, string> = {
  daily: 'Yesterday',
  weekly: 'Last week',
  monthly: 'Last month',
};

/** How often the page asks whether what it shows still holds: closing, and a board that is not pushed. ms */
const CHECK_MS = 15_000;
/** The same while the board is not pushed, or is closing. ms */
const CLOSE_CHECK_MS = 4_000;
/** After this the visitor is told that nothing comes, ms. */
const PATIENCE_MS = 8_000;

function storage(): Storage | undefined {
  try {
    return localStorage;
  } catch {
    // Forbidden by the visitor: the session lasts as long as the page.
    return undefined;
  }
}

/** A board, and when it was last heard of. */
interface Known {
  board: Board;
  heardAt: number;
}

class Page {
  readonly #client: LaurelClient;
  readonly #announcer = new Announcer(byId('announcer'));
  readonly #boardView = new BoardView(byId<HTMLOListElement>('board'));
  readonly #account: Account;
  readonly #mine: MineView;
  /** Null where the service runs no demo. */
  readonly #play: Play | null;
  /** By address: what to show while the service is away. */
  readonly #known = new Map<string, Known>();
  #where = whereFrom(location.search);
  #boards: LeaderboardInfo[] = [];
  #watcher: BoardWatcher | null = null;
  #refusal: LaurelError | null = null;
  #leader: string | null = null;
  #isMuted = false;
  #checkTimer: ReturnType<typeof setTimeout> | undefined;
  #patience: ReturnType<typeof setTimeout> | undefined;
  /** Counts the boards that were gone to: an answer about another one is of no interest. */
  #turn = 0;

  constructor() {
    const kept = storage();
    this.#client = new LaurelClient({ baseUrl: location.origin, ...(kept && { storage: kept }) });
    this.#account = new Account(this.#client);
    this.#mine = new MineView(byId('mine'), this.#client, this.#where, {
      rank: (rank) => {
        this.#announcer.say(`You are ${ordinal(rank)} now.`);
      },
      total: (total) => {
        this.#counted(total);
      },
    });
    this.#play = demoPlayer()
      ? new Play({
          client: this.#client,
          leaderboard: this.#where.leaderboard,
          askToSignIn: () => {
            this.#account.open();
          },
          onCompleted: () => {
            this.#mine.refresh();
          },
          onClosed: () => {
            void this.#check();
          },
        })
      : null;
    bindThemeButton(byId<HTMLButtonElement>('theme'));
    this.#client.onSession(() => {
      this.#sessionChanged();
    });
    this.#client.on('score:update', (event) => {
      if (event.userId === this.#client.user?.userId) this.#mine.refresh();
    });
    this.#bindPickers();
    setInterval(() => {
      this.#showTime();
    }, 20_000);
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) void this.#check();
    });
  }

  start(): void {
    this.#boardView.setMe(this.#client.user?.userId ?? null);
    this.#go(this.#where);
    void this.#loadBoards();
  }

  get #board(): Board | null {
    return this.#known.get(addressOf(this.#where))?.board ?? null;
  }

  #sessionChanged(): void {
    this.#account.show();
    this.#play?.show();
    this.#boardView.setMe(this.#client.user?.userId ?? null);
    // What was refused to one visitor may be shown to another one.
    if (this.#refusal) {
      this.#go(this.#where);
      void this.#loadBoards();
      return;
    }
    this.#mine.reset(this.#where);
    if (this.#board && this.#where.date === null) this.#mine.boardChanged(this.#board);
  }

  #bindPickers(): void {
    const select = byId<HTMLSelectElement>('board-picker');
    select.addEventListener('change', () => {
      this.#go({ ...this.#where, leaderboard: select.value, date: null });
    });
    byId('periods').addEventListener('change', (event) => {
      const chosen = PERIODS.find((period) => period === (event.target as HTMLInputElement).value);
      if (chosen) this.#go({ ...this.#where, period: chosen, date: null });
    });
  }

  async #loadBoards(): Promise<void> {
    for (let wait = 1_000; ; wait = Math.min(wait * 2, 30_000)) {
      try {
        this.#boards = await this.#client.leaderboards();
        this.#showPickers();
        if (this.#refusal) this.#showRefusal(this.#refusal);
        return;
      } catch (error) {
        // Not without signing in: the list comes with the session.
        if (error instanceof Refusal && error.status === 401) return;
        // The board itself is watched meanwhile; only the list of the others is missing.
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }

  #showPickers(): void {
    const { leaderboard, period } = this.#where;
    const info = this.#boards.find((board) => board.key === leaderboard);
    const title = info?.title ?? leaderboard;
    const select = byId<HTMLSelectElement>('board-picker');
    const choices = this.#boards.map((board) => ({ key: board.key, title: board.title }));
    // A board that is on no list is not passed off as the first one that is.
    const others = info ? [] : [{ key: leaderboard, title: this.#refusal ? 'Choose a board' : title }];
    select.replaceChildren(
      ...[...others, ...choices].map((choice) => {
        const option = make('option', '', choice.title);
        option.value = choice.key;
        option.dir = 'auto';
        option.selected = choice.key === leaderboard;
        return option;
      }),
    );
    const when = period === 'all' || this.#where.date !== null ? '' : `, ${NOW_WORDS[period].toLowerCase()}`;
    byId('board-title').textContent = this.#refusal ? 'Standings' : title;
    document.title = `${this.#refusal ? byId('notice-title').textContent : `${title}${when}`} · Laurel`;
    byId<HTMLFieldSetElement>('periods').disabled = this.#refusal !== null;
    for (const input of byId('periods').querySelectorAll('input')) {
      input.checked = input.value === period;
      const label = input.closest('label');
      if (label) label.hidden = !(info?.periods ?? PERIODS).some((offered) => offered === input.value);
    }
    this.#play?.setBoard(leaderboard, info);
  }

  #go(where: Where): void {
    const turn = ++this.#turn;
    if (where !== this.#where) history.replaceState(null, '', addressOf(where));
    this.#where = where;
    this.#leader = null;
    this.#refusal = null;
    this.#isMuted = false;
    this.#showPickers();
    const board = this.#board;
    if (board) this.#boardView.replace(board);
    else this.#boardView.showLoading();
    if (board) this.#showEmpty(board);
    this.#mine.reset(where);
    clearTimeout(this.#patience);
    this.#patience = setTimeout(() => {
      if (!this.#board && !this.#refusal) this.#showNothing();
    }, PATIENCE_MS);

    const old = this.#watcher;
    this.#watcher = where.date === null ? this.#watch(where, turn) : null;
    old?.close();
    if (where.date !== null) void this.#showPast(where, turn);
    this.#showStatus();
    this.#checkLater();
  }

  #watch(where: Where, turn: number): BoardWatcher {
    const watcher = this.#client.watch(where.leaderboard, { period: where.period });
    const ours = (run: () => void) => {
      if (this.#turn === turn) run();
    };
    watcher.onChange((update) => {
      ours(() => {
        if (update.cause === 'update') this.#isMuted = false;
        this.#show(update);
      });
    });
    watcher.onState(() => {
      ours(() => {
        if (watcher.state === 'offline' && !this.#board && !watcher.error) this.#showNothing();
        this.#showStatus();
      });
    });
    watcher.onError((error) => {
      ours(() => {
        this.#showRefusal(error);
      });
    });
    return watcher;
  }

  /** A period that is over: it changes no more, so nobody follows it. */
  async #showPast(where: Where, turn: number): Promise<void> {
    const { leaderboard, period, date } = where;
    if (date === null) return;
    try {
      const board = await this.#client.leaderboard(leaderboard, { period, date });
      if (turn !== this.#turn) return;
      this.#show({ board, changes: [], cause: 'snapshot' });
    } catch (error) {
      if (turn !== this.#turn) return;
      if (error instanceof Refusal && error.status > 0 && error.status < 500 && error.status !== 429)
        this.#showRefusal(error);
      else this.#showNothing();
    }
  }

  #show(update: BoardUpdate): void {
    const { board } = update;
    this.#known.set(addressOf(this.#where), { board, heardAt: Date.now() });
    this.#boardView.show(update);
    this.#showEmpty(board);
    if (this.#where.date === null) this.#mine.boardChanged(board);
    this.#showStatus();
    const [leader] = board.entries;
    if (leader && this.#leader !== null && this.#leader !== leader.userId) {
      this.#announcer.say(`${isolated(leader.username)} takes the lead with ${number(leader.score)} points.`);
    }
    this.#leader = leader?.userId ?? '';
  }

  /** Players below the top 10 arrive without an update of the board. */
  #counted(total: number): void {
    const known = this.#known.get(addressOf(this.#where));
    if (!known || this.#where.date !== null) return;
    known.board = { ...known.board, total };
    this.#showStatus();
  }

  /** Says why a board has no lines, if it has none. */
  #showEmpty(board: Board): void {
    if (board.entries.length > 0) return;
    if ((board.state ?? 'open') !== 'open' || this.#where.date !== null) {
      this.#boardView.showNotice({
        name: 'closed-empty',
        title: 'The laurel went to nobody',
        text: 'Nobody had scored here when it ended.',
      });
      return;
    }
    const play = this.#play;
    this.#boardView.showNotice({
      name: 'empty',
      title: 'The laurel is unclaimed',
      text: 'Nobody has scored here yet. One action is all it takes to lead.',
      ...(play && {
        button: {
          text: 'Be the first',
          press: () => {
            play.invite();
          },
        },
      }),
    });
  }

  #showRefusal(error: LaurelError): void {
    this.#refusal = error;
    this.#known.delete(addressOf(this.#where));
    const others = this.#boards.filter((board) => board.key !== this.#where.leaderboard);
    const notice = refusalNotice(error, this.#where.leaderboard, others, () => {
      this.#account.open();
    });
    this.#boardView.showNotice(notice);
    this.#showPickers();
    this.#showStatus();
  }

  /** Neither a board nor a reason: the service cannot be reached, or will not answer yet. */
  #showNothing(): void {
    const isLimited = this.#watcher?.trouble?.code === 'RATE_LIMITED';
    const notice: Notice = isLimited
      ? { name: 'limited', title: 'Asked too often', text: 'The board comes by itself in a moment.' }
      : {
          name: 'offline',
          title: 'The service cannot be reached',
          text: 'Check your connection. The board comes by itself once the service answers.',
        };
    this.#boardView.showNotice({
      ...notice,
      button: {
        text: 'Try again',
        press: () => {
          this.#go(this.#where);
        },
      },
    });
  }

  #showStatus(): void {
    const board = this.#board;
    const connection = this.#watcher?.state ?? (board ? 'live' : 'connecting');
    const isPast = this.#where.date !== null;
    const { name, words } = statusOf({
      connection,
      board: board && isPast ? { ...board, state: board.state ?? 'archived' } : board,
      refusal: this.#refusal,
      trouble: this.#watcher?.trouble ?? null,
      isMuted: this.#isMuted,
      heardAt: this.#known.get(addressOf(this.#where))?.heardAt ?? null,
    });
    const element = byId('connection');
    element.dataset['state'] = name;
    if (element.textContent !== words) element.textContent = words;
    byId('players').textContent = board && board.total > 0 ? count(board.total, 'player') : '';
    this.#play?.setOpen(!this.#refusal && !isPast && (board?.state ?? 'open') === 'open');
    this.#showTime();
  }

  /** Which time the board is of, and the way to another one. The line is never empty, so that nothing moves. */
  #showTime(): void {
    const board = this.#board;
    const { period, date } = this.#where;
    const start = Date.parse(board?.periodStart ?? '');
    const end = Date.parse(board?.periodEnd ?? '');
    const link = byId<HTMLAnchorElement>('other-time');
    let words = NOW_WORDS[period];
    let other: { text: string; where: Where } | null = null;
    if (date !== null) {
      if (!Number.isNaN(start) && !Number.isNaN(end)) words = spanOfDays(start, end);
      other = { text: `${NOW_WORDS[period]} instead`, where: { ...this.#where, date: null } };
    } else if (period !== 'all' && !Number.isNaN(start)) {
      const before = new Date(start - 1).toISOString().slice(0, 10);
      other = { text: BEFORE_WORDS[period], where: { ...this.#where, date: before } };
      if (end > Date.now()) words = `Starts anew in ${spanWords(end - Date.now())}`;
    }
    const closesAt = Date.parse(
      this.#boards.find(({ key }) => key === this.#where.leaderboard)?.closesAt ?? '',
    );
    if (date === null && period === 'all' && closesAt > Date.now())
      words = `Closes in ${spanWords(closesAt - Date.now())}`;
    byId('resets').textContent = this.#refusal ? '' : ((board && closedWords(board)) ?? words);
    link.hidden = !other || this.#refusal !== null;
    link.textContent = other?.text ?? '';
    if (other) link.href = addressOf(other.where);
  }

  /** Pushed frames do not tell that a board has closed, nor that none will come. */
  #checkLater(): void {
    clearTimeout(this.#checkTimer);
    if (this.#where.date !== null) return;
    const soon = this.#isMuted || this.#board?.state === 'closing';
    this.#checkTimer = setTimeout(
      () => {
        if (document.hidden) this.#checkLater();
        else void this.#check();
      },
      soon ? CLOSE_CHECK_MS : CHECK_MS,
    );
  }

  async #check(): Promise<void> {
    const turn = this.#turn;
    const watcher = this.#watcher;
    if (watcher && !watcher.error && watcher.transport !== 'polling') {
      const { leaderboard, period } = this.#where;
      const shown = watcher.board;
      try {
        const board = await this.#client.leaderboard(leaderboard, { period, limit: 10 });
        if (turn !== this.#turn) return;
        if (watcher.board === shown) this.#counted(board.total);
        const isNewer = shown !== null && board.version > shown.version;
        // A frame may be on its way; one that has not come by the next look will not come.
        if (isNewer && watcher.board === shown) this.#isMuted = true;
        const mine = watcher.board;
        if (this.#isMuted || (mine && mine.state !== board.state)) watcher.refresh();
      } catch {
        // The watcher has its own ways to find out that the service is away.
      }
    }
    if (turn !== this.#turn) return;
    this.#showStatus();
    this.#checkLater();
  }
}

new Page().start();
