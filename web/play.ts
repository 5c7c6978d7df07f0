import type { ActionType, CompletionResult, LaurelClient, LeaderboardInfo } from '../client/index.ts';
import { LaurelError } from '../client/index.ts';
import { byId, glyph, make } from './dom.ts';
import { countUp } from './motion.ts';
import { errorWords, number, tookWords, waitSeconds } from './words.ts';

/** How often prices are asked for while the page is looked at, ms. */
const PRICES_MS = 30_000;

/** Drawings by the cheapest first; the dearest has the flag. */
const GLYPHS = ['glyph-task', 'glyph-quest', 'glyph-mission'] as const;

/** One button, and the parts of it that change. */
interface Offer {
  type: ActionType;
  button: HTMLButtonElement;
  title: HTMLElement;
  points: HTMLElement;
}

/**
 * The buttons of the demo that complete actions, and what came of them. What they offer, and for how many points, is
 * what the service says. Only `npm start` has the demo: games complete actions, not scoreboards.
 */
export class Play {
  readonly #client: LaurelClient;
  readonly #panel = byId('play');
  readonly #result = byId('result');
  readonly #askToSignIn: () => void;
  readonly #onCompleted: (result: CompletionResult) => void;
  readonly #onClosed: () => void;
  readonly #offers = new Map<string, Offer>();
  #types: ActionType[] | null = null;
  #leaderboard: string;
  #board: LeaderboardInfo | undefined;
  #isOpen = true;
  #blocked: ReturnType<typeof setInterval> | undefined;

  constructor(options: {
    client: LaurelClient;
    leaderboard: string;
    askToSignIn: () => void;
    onCompleted: (result: CompletionResult) => void;
    onClosed: () => void;
  }) {
    this.#client = options.client;
    this.#leaderboard = options.leaderboard;
    this.#askToSignIn = options.askToSignIn;
    this.#onCompleted = options.onCompleted;
    this.#onClosed = options.onClosed;
    this.#panel.hidden = false;
    this.show();
    void this.#loadPrices();
    setInterval(() => {
      if (!document.hidden) void this.#loadPrices();
    }, PRICES_MS);
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) void this.#loadPrices();
    });
  }

  /** Which board earns the points; undefined while nothing is known of it but its key. */
  setBoard(leaderboard: string, info: LeaderboardInfo | undefined): void {
    this.#leaderboard = leaderboard;
    this.#board = info;
    this.#showOffers();
    this.show();
  }

  /** Whether what is completed now counts on the board. */
  setOpen(isOpen: boolean): void {
    if (isOpen === this.#isOpen) return;
    this.#isOpen = isOpen;
    this.show();
  }

  /** After signing in or out, or another board. */
  show(): void {
    const title = this.#board?.title ?? this.#leaderboard;
    byId('play-where').textContent = !this.#isOpen
      ? 'Nothing can be earned on this board.'
      : this.#types?.length === 0
        ? 'The service offers nothing to play.'
        : this.#client.user
          ? `Counts on ${title}`
          : 'Sign in to play. It takes a moment.';
    if (!this.#client.user) {
      this.#result.hidden = true;
      this.#unblock();
    }
    this.#showDisabled();
  }

  /** Brings the visitor to the buttons. */
  invite(): void {
    const [first] = this.#panel.querySelectorAll<HTMLButtonElement>('.action');
    if (!this.#client.user) this.#askToSignIn();
    else (first ?? byId('play-title')).focus();
  }

  async #loadPrices(): Promise<void> {
    try {
      this.#types = await this.#client.actionTypes();
    } catch (error) {
      // What was known stands until the next try. A service that knows no such list offers nothing.
      if (this.#types !== null || !(error instanceof LaurelError) || error.status !== 404) return;
      this.#types = [];
    }
    this.#showOffers();
    this.show();
  }

  /** Keeps the buttons that stay: one of them may have the focus. */
  #showOffers(): void {
    const offered = (this.#types ?? [])
      .filter(({ leaderboards }) => leaderboards?.includes(this.#leaderboard) ?? true)
      .sort((a, b) => a.points - b.points);
    for (const [key, { button }] of this.#offers) {
      if (offered.some((type) => type.key === key)) continue;
      button.remove();
      this.#offers.delete(key);
    }
    offered.forEach((type, place) => {
      const offer = this.#offers.get(type.key) ?? this.#makeOffer(type, place);
      offer.type = type;
      offer.title.textContent = type.title;
      // A board may pay less than the price.
      offer.points.textContent = `+${number(Math.min(type.points, this.#board?.maxPointsPerUpdate ?? Infinity))}`;
      const list = byId('actions');
      if (list.children[place] !== offer.button)
        list.insertBefore(offer.button, list.children[place] ?? null);
    });
  }

  #makeOffer(type: ActionType, place: number): Offer {
    const button = make('button', 'action');
    button.type = 'button';
    button.dataset['testid'] = `action-${type.key}`;
    const icon = make('span', 'action__icon');
    icon.append(glyph(GLYPHS[Math.min(place, GLYPHS.length - 1)] ?? GLYPHS[0]));
    const title = make('bdi', 'action__title');
    const points = make('span', 'action__points');
    button.append(icon, title, points);
    const offer: Offer = { type, button, title, points };
    button.addEventListener('click', () => {
      void this.#play(offer);
    });
    this.#offers.set(type.key, offer);
    return offer;
  }

  async #play({ type, button }: Offer): Promise<void> {
    if (!this.#isOpen) return;
    if (!this.#client.user) {
      this.#askToSignIn();
      return;
    }
    if (button.getAttribute('aria-busy') === 'true' || this.#blocked !== undefined) return;
    button.setAttribute('aria-busy', 'true');
    try {
      const action = await this.#client.start(type.key, { leaderboard: this.#leaderboard });
      if (type.minDurationMs > 0)
        await new Promise((resolve) => setTimeout(resolve, type.minDurationMs + 250));
      const began = performance.now();
      const result = await this.#client.complete(action);
      this.#succeed(result, performance.now() - began);
      this.#onCompleted(result);
      // It was worth something else than the button says: the price has changed.
      if (button.querySelector('.action__points')?.textContent !== `+${number(result.score.delta)}`)
        void this.#loadPrices();
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
    if (error instanceof LaurelError && error.code === 'LEADERBOARD_CLOSED') this.#onClosed();
    if (error instanceof LaurelError && error.code === 'UNKNOWN_ACTION_TYPE') void this.#loadPrices();
  }

  /** Counts down beside the words, which stay as they are: a screen reader need not hear every second. */
  #block(seconds: number): void {
    this.#unblock();
    const until = Date.now() + seconds * 1000;
    const clock = make('p', 'result__clock');
    clock.setAttribute('aria-hidden', 'true');
    this.#result.append(clock);
    const tick = () => {
      const left = Math.ceil((until - Date.now()) / 1000);
      clock.textContent = `${left} s`;
      if (left > 0) return;
      this.#unblock();
      this.#result.replaceChildren(make('p', 'result__words', 'Ready. Play on.'));
      this.#result.className = 'result';
    };
    this.#blocked = setInterval(tick, 250);
    this.#showDisabled();
    tick();
  }

  #unblock(): void {
    clearInterval(this.#blocked);
    this.#blocked = undefined;
    this.#showDisabled();
  }

  #showDisabled(): void {
    const isOff = !this.#isOpen || this.#blocked !== undefined;
    for (const { button } of this.#offers.values()) {
      if (isOff) button.setAttribute('aria-disabled', 'true');
      else button.removeAttribute('aria-disabled');
    }
  }
}

function rankWords(previous: number | null, current: number): string {
  if (previous === null) return `Entered at rank ${number(current)}`;
  if (previous === current) return `Rank ${number(current)}, as before`;
  return `Rank ${number(previous)} → ${number(current)}`;
}
