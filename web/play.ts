import type { CompletionResult, LaurelClient } from '../client/index.ts';
import { byId, glyph, make } from './dom.ts';
import { countUp } from './motion.ts';
import { errorWords, number, tookWords, waitSeconds } from './words.ts';

/** What the page offers to do. The service knows what each is worth; the points here are for show. */
const ACTIONS = [
  { type: 'COMPLETE_TASK', title: 'Task', hint: 'A quick win', points: 10, glyph: 'glyph-task' },
  { type: 'COMPLETE_QUEST', title: 'Quest', hint: 'Worth the road', points: 50, glyph: 'glyph-quest' },
  { type: 'COMPLETE_MISSION', title: 'Mission', hint: 'Plant the flag', points: 100, glyph: 'glyph-mission' },
] as const;

/** The buttons that complete actions, and what came of them. */
export class Play {
  readonly #client: LaurelClient;
  readonly #result = byId('result');
  readonly #buttons: HTMLButtonElement[] = [];
  readonly #askToSignIn: () => void;
  readonly #onCompleted: (result: CompletionResult) => void;
  #leaderboard: string;
  #blocked: ReturnType<typeof setInterval> | undefined;

  constructor(options: {
    client: LaurelClient;
    leaderboard: string;
    askToSignIn: () => void;
    onCompleted: (result: CompletionResult) => void;
  }) {
    this.#client = options.client;
    this.#leaderboard = options.leaderboard;
    this.#askToSignIn = options.askToSignIn;
    this.#onCompleted = options.onCompleted;
    byId('actions').append(...ACTIONS.map((action) => this.#button(action)));
    this.show();
  }

  /** Which board earns the points, and its title. */
  setBoard(leaderboard: string, title: string): void {
    this.#leaderboard = leaderboard;
    byId('play-where').dataset['title'] = title;
    this.show();
  }

  /** After signing in or out, or another board. */
  show(): void {
    const where = byId('play-where');
    const title = where.dataset['title'] ?? '';
    where.textContent = this.#client.user
      ? `Counts on ${title || 'this board'}`
      : 'Sign in to play. It takes a moment.';
    if (!this.#client.user) {
      this.#result.hidden = true;
      this.#unblock();
    }
  }

  /** Brings the visitor to the buttons. */
  invite(): void {
    if (!this.#client.user) this.#askToSignIn();
    else this.#buttons[0]?.focus();
  }

  #button(action: (typeof ACTIONS)[number]): HTMLButtonElement {
    const button = make('button', 'action');
    button.type = 'button';
    button.dataset['testid'] = `action-${action.type}`;
    const icon = make('span', 'action__icon');
    icon.append(glyph(action.glyph));
    const words = make('span', 'action__words');
    words.append(make('span', 'action__title', action.title), make('span', 'action__hint', action.hint));
    button.append(icon, words, make('span', 'action__points', `+${action.points}`));
    button.addEventListener('click', () => {
      void this.#play(action.type, button);
    });
    this.#buttons.push(button);
    return button;
  }

  async #play(type: string, button: HTMLButtonElement): Promise<void> {
    if (!this.#client.user) {
      this.#askToSignIn();
      return;
    }
    if (button.getAttribute('aria-busy') === 'true' || this.#blocked !== undefined) return;
    button.setAttribute('aria-busy', 'true');
    const began = performance.now();
    try {
      const result = await this.#client.play(type, { leaderboard: this.#leaderboard });
      this.#succeed(result, performance.now() - began);
      this.#onCompleted(result);
    } catch (error) {
      this.#fail(error);
    } finally {
      button.removeAttribute('aria-busy');
    }
  }

  #succeed(result: CompletionResult, tookMs: number): void {
    const { score, rank } = result;
    const gained = make('span', 'result__gain', `+${number(score.delta)}`);
    const total = make('span', 'result__total');
    const figure = make('span', 'result__figure');
    total.append(figure, ' points');
    const facts = make('p', 'result__facts');
    if (rank.current !== null) facts.append(make('span', '', rankWords(rank.previous, rank.current)));
    facts.append(make('span', '', `Counted in ${tookWords(tookMs)}`));
    const head = make('p', 'result__head');
    head.append(gained, total);
    this.#result.className = 'result is-good';
    this.#result.replaceChildren(head, facts);
    this.#result.hidden = false;
    countUp(figure, score.previous, score.current, number);
  }

  #fail(error: unknown): void {
    this.#result.className = 'result is-bad';
    this.#result.hidden = false;
    const seconds = waitSeconds(error);
    this.#result.replaceChildren(make('p', 'result__words', errorWords(error)));
    if (seconds !== null) this.#block(seconds);
  }

  /** Counts down beside the words, which stay as they are: a screen reader need not hear every second. */
  #block(seconds: number): void {
    this.#unblock();
    const until = Date.now() + seconds * 1000;
    const clock = make('p', 'result__clock');
    clock.setAttribute('aria-hidden', 'true');
    this.#result.append(clock);
    for (const button of this.#buttons) button.setAttribute('aria-disabled', 'true');
    const tick = () => {
      const left = Math.ceil((until - Date.now()) / 1000);
      clock.textContent = `${left} s`;
      if (left > 0) return;
      this.#unblock();
      this.#result.replaceChildren(make('p', 'result__words', 'Ready. Play on.'));
      this.#result.className = 'result';
    };
    this.#blocked = setInterval(tick, 250);
    tick();
  }

  #unblock(): void {
    clearInterval(this.#blocked);
    this.#blocked = undefined;
    for (const button of this.#buttons) button.removeAttribute('aria-disabled');
  }
}

function rankWords(previous: number | null, current: number): string {
  if (previous === null) return `Entered at rank ${number(current)}`;
  if (previous === current) return `Rank ${number(current)}, as before`;
  return `Rank ${number(previous)} → ${number(current)}`;
}
