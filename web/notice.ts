import type { LaurelError, LeaderboardInfo } from '../client/index.ts';
import { byId, make } from './dom.ts';
import { errorWords } from './words.ts';

/** What stands where the board would stand. */
export interface Notice {
  /** for styles and tests */
  name: 'empty' | 'closed-empty' | 'unknown' | 'forbidden' | 'sign-in' | 'suspended' | 'limited' | 'offline';
  title: string;
  text: string;
  button?: { text: string; press: () => void };
  /** other boards to go to */
  boards?: readonly LeaderboardInfo[];
}

/** Why the service refuses a board for good, for people. */
export function refusalNotice(
  error: LaurelError,
  leaderboard: string,
  boards: readonly LeaderboardInfo[],
  signIn: () => void,
): Notice {
  switch (error.code) {
    case 'LEADERBOARD_NOT_FOUND':
    case 'UNKNOWN_LEADERBOARD':
      return {
        name: 'unknown',
        title: 'There is no such board',
        text: `Nothing is kept under “${leaderboard}”. It may have been archived, or the link has a typing error.`,
        boards,
      };
    case 'UNAUTHENTICATED':
    case 'TOKEN_EXPIRED':
      return {
        name: 'sign-in',
        title: 'For players only',
        text: 'Sign in to see the standings.',
        button: { text: 'Sign in', press: signIn },
      };
    case 'FORBIDDEN':
      return {
        name: 'forbidden',
        title: 'This board is private',
        text: 'Your account may not see it.',
        boards,
      };
    case 'USER_BANNED':
      return { name: 'suspended', title: 'Account suspended', text: errorWords(error) };
    default:
      return { name: 'unknown', title: 'This board cannot be shown', text: errorWords(error), boards };
  }
}

/** The panel that says why there is no board to see. */
export class NoticeView {
  readonly #element = byId('empty');
  readonly #title = byId('notice-title');
  readonly #text = byId('notice-text');
  readonly #button = byId<HTMLButtonElement>('notice-button');
  readonly #boards = byId('notice-boards');
  #press: () => void = () => undefined;

  constructor() {
    this.#button.addEventListener('click', () => {
      this.#press();
    });
  }

  /** @param notice null: none, the board is there */
  show(notice: Notice | null): void {
    this.#element.hidden = notice === null;
    if (!notice) return;
    this.#element.dataset['notice'] = notice.name;
    this.#title.textContent = notice.title;
    this.#text.textContent = notice.text;
    this.#button.hidden = !notice.button;
    this.#button.textContent = notice.button?.text ?? '';
    this.#press = notice.button?.press ?? (() => undefined);
    const boards = notice.boards ?? [];
    this.#boards.hidden = boards.length === 0;
    this.#boards.replaceChildren(
      ...boards.slice(0, 12).map((board) => {
        const link = make('a', 'button button--quiet', board.title);
        link.href = `?${new URLSearchParams({ board: board.key })}`;
        link.dir = 'auto';
        const item = make('li', '');
        item.append(link);
        return item;
      }),
    );
  }
}
