/** A busy board changes ten times a second; a voice that follows it is of no use. */
const PAUSE_MS = 8_000;

/** Tells screen readers what matters, at most once in a while; of several things, the latest. */
export class Announcer {
  readonly #element: HTMLElement;
  #next: string | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(element: HTMLElement) {
    this.#element = element;
  }

  say(text: string): void {
    this.#next = text;
    if (this.#timer === undefined) this.#speak();
  }

  #speak(): void {
    if (this.#next === null) {
      this.#timer = undefined;
      return;
    }
    this.#element.textContent = this.#next;
    this.#next = null;
    this.#timer = setTimeout(() => {
      this.#speak();
    }, PAUSE_MS);
  }
}
