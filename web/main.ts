import type { BoardUpdate, ConnectionState, LeaderboardInfo, Period } from '../client/index.ts';
import type { BoardWatcher } from '../client/index.ts';
import { LaurelClient } from '../client/index.ts';
import { Account } from './account.ts';
import { Announcer } from './announcer.ts';
import { BoardView } from './board-view.ts';
import { byId, make } from './dom.ts';
import { MineView } from './mine-view.ts';
import { Play } from './play.ts';
import { bindThemeButton } from './theme.ts';
import { count, errorWords, number, ordinal, spanWords } from './words.ts';

const PERIODS: readonly Period[] = ['all', 'daily', 'weekly', 'monthly'];

const STATE_WORDS: Record<ConnectionState, string> = {
  connecting: 'Connecting',
  live: 'Live',
  polling: 'Checking every few seconds',
  offline: 'Offline: the last known board',
};

/** Which board is shown; kept in the address, so that it can be shared and survives a reload. */
interface Where {
  leaderboard: string;
  period: Period;
}

function whereFromAddress(): Where {
  const query = new URLSearchParams(location.search);
  return {
    leaderboard: query.get('board') ?? 'global',
    period: PERIODS.find((period) => period === query.get('period')) ?? 'all',
  };
}

function storage(): Storage | undefined {
  try {
    return localStorage;
  } catch {
    // Forbidden by the visitor: the session lasts as long as the page.
    return undefined;
  }
}

class Page {
  readonly #client: LaurelClient;
  readonly #announcer = new Announcer(byId('announcer'));
  readonly #boardView = new BoardView(byId<HTMLOListElement>('board'), byId('empty'));
  readonly #account: Account;
  readonly #mine: MineView;
  readonly #play: Play;
  #where = whereFromAddress();
  #boards: LeaderboardInfo[] = [];
  #watcher: BoardWatcher | null = null;
  #leader: string | null = null;
  #endsAt: number | null = null;

  constructor() {
    const kept = storage();
    this.#client = new LaurelClient({ baseUrl: location.origin, ...(kept && { storage: kept }) });
    this.#account = new Account(this.#client);
    this.#mine = new MineView(byId('mine'), this.#client, this.#where, (rank) => {
      this.#announcer.say(`You are ${ordinal(rank)} now.`);
    });
    this.#play = new Play({
      client: this.#client,
      leaderboard: this.#where.leaderboard,
      askToSignIn: () => {
        this.#account.open();
      },
      onCompleted: () => {
        this.#mine.refresh();
      },
    });
    bindThemeButton(byId<HTMLButtonElement>('theme'));
    byId('empty-play').addEventListener('click', () => {
      this.#play.invite();
    });
    this.#client.onSession(() => {
      this.#sessionChanged();
    });
    this.#client.on('score:update', (event) => {
      if (event.userId === this.#client.user?.userId) this.#mine.refresh();
    });
    this.#bindPickers();
    setInterval(() => {
      this.#showReset();
    }, 20_000);
  }

  start(): void {
    this.#boardView.setMe(this.#client.user?.userId ?? null);
    this.#go(this.#where);
    void this.#loadBoards();
  }

  #sessionChanged(): void {
    this.#account.show();
    this.#play.show();
    this.#boardView.setMe(this.#client.user?.userId ?? null);
    this.#mine.reset(this.#where);
    const board = this.#watcher?.board;
    if (board) this.#mine.boardChanged(board);
  }

  #bindPickers(): void {
    const select = byId<HTMLSelectElement>('board-picker');
    select.addEventListener('change', () => {
      this.#go({ ...this.#where, leaderboard: select.value });
    });
    byId('periods').addEventListener('change', (event) => {
      const chosen = PERIODS.find((period) => period === (event.target as HTMLInputElement).value);
      if (chosen) this.#go({ ...this.#where, period: chosen });
    });
  }

  async #loadBoards(): Promise<void> {
    for (let wait = 1_000; ; wait = Math.min(wait * 2, 30_000)) {
      try {
        this.#boards = await this.#client.leaderboards();
        this.#showPickers();
        return;
      } catch {
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
    const options =
      this.#boards.length > 0 ? this.#boards : [{ key: leaderboard, title, periods: [...PERIODS] }];
    select.replaceChildren(
      ...options.map((board) => {
        const option = make('option', '', board.title);
        option.value = board.key;
        option.selected = board.key === leaderboard;
        return option;
      }),
    );
    byId('board-title').textContent = title;
    document.title = `${title} · Laurel`;
    for (const input of byId('periods').querySelectorAll('input')) {
      input.checked = input.value === period;
      const label = input.closest('label');
      if (label) label.hidden = !(info?.periods ?? PERIODS).some((offered) => offered === input.value);
    }
    this.#play.setBoard(leaderboard, title);
  }

  #go(where: Where): void {
    const query = new URLSearchParams({ board: where.leaderboard, period: where.period });
    if (where !== this.#where) history.replaceState(null, '', `?${query}`);
    this.#where = where;
    this.#leader = null;
    this.#endsAt = null;
    byId('players').textContent = '';
    byId('trouble').hidden = true;
    this.#showPickers();
    this.#showReset();
    this.#boardView.showLoading();
    this.#mine.reset(where);

    const watcher = this.#client.watch(where.leaderboard, { period: where.period });
    const old = this.#watcher;
    this.#watcher = watcher;
    old?.close();
    const ours = (run: () => void) => {
      if (this.#watcher === watcher) run();
    };
    watcher.onChange((update) => {
      ours(() => {
        this.#show(update);
      });
    });
    watcher.onState((state) => {
      ours(() => {
        this.#showState(state);
      });
    });
    watcher.onError((error) => {
      ours(() => {
        const trouble = byId('trouble');
        trouble.textContent = errorWords(error);
        trouble.hidden = false;
      });
    });
    this.#showState(watcher.state);
  }

  #show(update: BoardUpdate): void {
    const { board } = update;
    this.#boardView.show(update);
    this.#mine.boardChanged(board);
    byId('players').textContent = board.total > 0 ? count(board.total, 'player') : '';
    this.#endsAt = board.periodEnd ? Date.parse(board.periodEnd) : null;
    this.#showReset();
    const [leader] = board.entries;
    if (leader && this.#leader !== null && this.#leader !== leader.userId) {
      this.#announcer.say(`${leader.username} takes the lead with ${number(leader.score)} points.`);
    }
    this.#leader = leader?.userId ?? '';
  }

  #showReset(): void {
    const left = this.#endsAt === null ? 0 : this.#endsAt - Date.now();
    byId('resets').textContent = left > 0 ? `Starts anew in ${spanWords(left)}` : '';
  }

  #showState(state: ConnectionState): void {
    const element = byId('connection');
    element.dataset['state'] = state;
    element.textContent = STATE_WORDS[state];
  }
}

new Page().start();
