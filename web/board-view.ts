import type { Board, BoardUpdate, LeaderboardEntry } from '../client/index.ts';
import { avatar } from './avatar.ts';
import { glyph, hiddenText, make } from './dom.ts';
import { countUp, flash, glide, measure } from './motion.ts';
import { NoticeView, type Notice } from './notice.ts';
import { number } from './words.ts';

/** How long ▲ and ▼ stay beside a name, ms. */
const MOVE_SHOWN_MS = 5_000;

/** One line, and the parts of it that change. */
interface Row {
  element: HTMLLIElement;
  rank: HTMLElement;
  who: HTMLElement;
  name: HTMLElement;
  move: HTMLElement;
  score: HTMLElement;
  bar: HTMLElement;
  face: HTMLElement;
  /** What `face` was made from. */
  faceOf: string;
  entry: LeaderboardEntry;
  moveTimer: ReturnType<typeof setTimeout> | undefined;
}

/** The top 10: the first three on a podium, the others in lines below. */
export class BoardView {
  readonly #list: HTMLOListElement;
  readonly #notice = new NoticeView();
  readonly #rows = new Map<string, Row>();
  #me: string | null = null;

  constructor(list: HTMLOListElement) {
    this.#list = list;
  }

  /** Marks one player as the visitor; null for nobody. */
  setMe(userId: string | null): void {
    this.#me = userId;
    for (const row of this.#rows.values()) this.#markMe(row);
  }

  /** Placeholders, until the board is known. */
  showLoading(): void {
    this.#clear();
    this.#notice.show(null);
    this.#list.hidden = false;
    this.#list.setAttribute('aria-busy', 'true');
    for (let place = 1; place <= 10; place++) {
      const item = make('li', 'entry entry--loading');
      item.dataset['place'] = String(place);
      item.setAttribute('aria-hidden', 'true');
      item.append(make('span', 'entry__rank', String(place)), make('span', 'avatar'), make('span', 'bone'));
      this.#list.append(item);
    }
  }

  /** Says why there is no board to see, in its place. */
  showNotice(notice: Notice): void {
    this.#clear();
    this.#list.hidden = true;
    this.#list.setAttribute('aria-busy', 'false');
    this.#notice.show(notice);
  }

  /** Another board, which is known already: nothing glides or counts up from the one before. */
  replace(board: Board): void {
    this.#clear();
    this.show({ board, changes: [], cause: 'snapshot' });
  }

  show(update: BoardUpdate): void {
    const { board } = update;
    const first = this.#list.getAttribute('aria-busy') === 'true';
    if (first) this.#clear();
    this.#list.setAttribute('aria-busy', 'false');
    this.#list.hidden = board.entries.length === 0;
    if (board.entries.length > 0) this.#notice.show(null);

    const elements = () => new Map([...this.#rows].map(([id, row]) => [id, row.element]));
    const before = measure(elements());
    this.#dropMissing(board);
    const known = new Set(this.#rows.keys());
    for (const entry of board.entries) this.#place(entry, board);
    glide(elements(), before);

    for (const change of update.changes) {
      const row = this.#rows.get(change.userId);
      if (row && (change.delta > 0 || !known.has(change.userId))) this.#celebrate(row, change.delta);
    }
  }

  #clear(): void {
    for (const row of this.#rows.values()) clearTimeout(row.moveTimer);
    this.#rows.clear();
    this.#list.replaceChildren();
  }

  #dropMissing(board: Board): void {
    const present = new Set(board.entries.map((entry) => entry.userId));
    for (const [userId, row] of this.#rows) {
      if (present.has(userId)) continue;
      clearTimeout(row.moveTimer);
      row.element.remove();
      this.#rows.delete(userId);
    }
  }

  #place(entry: LeaderboardEntry, board: Board): void {
    const index = board.entries.indexOf(entry);
    let row = this.#rows.get(entry.userId);
    if (!row) {
      row = makeRow(entry);
      this.#rows.set(entry.userId, row);
      row.score.textContent = number(entry.score);
    } else if (row.entry.score !== entry.score) {
      countUp(row.score, row.entry.score, entry.score, number);
    }
    // Moving an element that stands right would restart its pictures and animations.
    if (this.#list.children[index] !== row.element) {
      this.#list.insertBefore(row.element, this.#list.children[index] ?? null);
    }
    if (row.entry.rank !== entry.rank) showMove(row, row.entry.rank - entry.rank);
    row.element.dataset['place'] = String(index + 1);
    row.rank.textContent = number(entry.rank);
    row.name.textContent = entry.username;
    row.name.title = entry.username;
    const faceOf = `${entry.username}\n${entry.avatarUrl ?? ''}`;
    if (row.faceOf !== faceOf) {
      row.faceOf = faceOf;
      row.face.replaceChildren(avatar(entry));
    }
    const best = board.entries[0]?.score ?? 0;
    row.bar.style.transform = `scaleX(${best > 0 ? entry.score / best : 0})`;
    row.entry = entry;
    this.#markMe(row);
  }

  #markMe(row: Row): void {
    const isMe = row.entry.userId === this.#me;
    row.element.classList.toggle('is-me', isMe);
    if (isMe) row.element.setAttribute('aria-current', 'true');
    else row.element.removeAttribute('aria-current');
  }

  #celebrate(row: Row, delta: number): void {
    const gain = make('span', 'entry__gain', delta > 0 ? `+${number(delta)}` : 'New');
    gain.setAttribute('aria-hidden', 'true');
    row.element.querySelector('.entry__gain')?.remove();
    // Beside the name, which gives way: nothing lies over the score.
    row.who.append(gain);
    flash(row.element, gain);
  }
}

function makeRow(entry: LeaderboardEntry): Row {
  const element = make('li', 'entry');
  element.dataset['testid'] = 'entry';
  element.dataset['userId'] = entry.userId;
  const rank = make('span', 'entry__rank');
  const plinth = make('span', 'entry__plinth');
  plinth.append(hiddenText('Rank '), rank);
  const face = make('span', 'entry__face');
  const crown = make('span', 'entry__crown');
  crown.append(glyph('wreath', 'entry__wreath'), face);
  const name = make('bdi', 'entry__name');
  name.dir = 'auto';
  const you = make('span', 'entry__you', 'You');
  const who = make('span', 'entry__who');
  const move = make('span', 'entry__move');
  who.append(name, you, move);
  const score = make('span', 'entry__score');
  const unit = hiddenText(' points');
  const points = make('span', 'entry__points');
  const figure = make('span', 'entry__figure');
  figure.append(score, unit);
  points.append(figure);
  const bar = make('span', 'entry__bar');
  const meter = make('span', 'entry__meter');
  meter.setAttribute('aria-hidden', 'true');
  meter.append(bar);
  points.append(meter);
  element.append(plinth, crown, who, points);
  return { element, rank, who, name, move, score, bar, face, faceOf: '', entry, moveTimer: undefined };
}

/** @param by places gained; negative for lost */
function showMove(row: Row, by: number): void {
  clearTimeout(row.moveTimer);
  row.move.className = `entry__move ${by > 0 ? 'is-up' : 'is-down'}`;
  const sign = make('span', '', `${by > 0 ? '▲' : '▼'} ${Math.abs(by)}`);
  sign.setAttribute('aria-hidden', 'true');
  row.move.replaceChildren(sign, hiddenText(by > 0 ? `up ${by}` : `down ${-by}`));
  row.moveTimer = setTimeout(() => {
    row.move.className = 'entry__move';
    row.move.replaceChildren();
  }, MOVE_SHOWN_MS);
}
