const still = matchMedia('(prefers-reduced-motion: reduce)');

/** Whether the visitor wants things to stay where they are. */
function isStill(): boolean {
  return still.matches;
}

/** Settles fast and softly, without a bounce that would read as a change of rank. */
const SETTLE = 'cubic-bezier(0.22, 0.9, 0.24, 1)';
const MOVE_MS = 620;

/** Where elements stood, by the key that stays theirs while they move. */
export function measure(elements: Map<string, HTMLElement>): Map<string, DOMRect> {
  return new Map([...elements].map(([key, element]) => [key, element.getBoundingClientRect()]));
}

/**
 * FLIP: lets elements glide from where they stood to where they are. Call after the document has changed.
 * A glide under way is taken over from where it is.
 */
export function glide(elements: Map<string, HTMLElement>, before: Map<string, DOMRect>): void {
  for (const element of elements.values()) {
    for (const animation of element.getAnimations()) if (animation.id === 'glide') animation.cancel();
  }
  if (isStill()) return;
  const after = measure(elements);
  for (const [key, element] of elements) {
    const to = after.get(key);
    const from = before.get(key);
    if (!to) continue;
    if (!from) {
      play(element, [
        { opacity: 0, transform: 'translateY(18px)' },
        { opacity: 1, transform: 'none' },
      ]);
      continue;
    }
    // Stepping down from the podium into a line as wide as the board: sideways it would stick out of it.
    const widens = to.width > from.width * 1.5;
    const dx = widens ? 0 : from.left + from.width / 2 - (to.left + to.width / 2);
    const dy = from.top - to.top;
    if (Math.abs(dx) < 1 && Math.abs(dy) < 1) continue;
    element.classList.toggle('is-rising', dy > 0);
    const gliding = play(element, [
      { transform: `translate(${dx}px, ${dy}px)`, opacity: widens ? 0.2 : 1 },
      { transform: 'none', opacity: 1 },
    ]);
    gliding.onfinish = () => {
      element.classList.remove('is-rising');
    };
  }
}

function play(element: HTMLElement, keyframes: Keyframe[]): Animation {
  const animation = element.animate(keyframes, { duration: MOVE_MS, easing: SETTLE });
  animation.id = 'glide';
  return animation;
}

const counting = new WeakMap<HTMLElement, number>();

/** Counts the text of `element` from one number to another. The last frame always shows `to`. */
export function countUp(
  element: HTMLElement,
  from: number,
  to: number,
  format: (value: number) => string,
): void {
  cancelAnimationFrame(counting.get(element) ?? 0);
  if (isStill() || from === to || document.hidden) {
    element.textContent = format(to);
    return;
  }
  const began = performance.now();
  const step = (now: number) => {
    const share = Math.min(1, Math.max(0, (now - began) / 700));
    const eased = 1 - (1 - share) ** 4;
    element.textContent = format(Math.round(from + (to - from) * eased));
    if (share < 1) counting.set(element, requestAnimationFrame(step));
  };
  counting.set(element, requestAnimationFrame(step));
}

/** A wash of colour, and the points that were gained rising off the score. */
export function flash(row: HTMLElement, gain: HTMLElement): void {
  row.classList.remove('is-flashing');
  // Reading the layout makes the browser notice the removal, so that the animation begins anew.
  void row.offsetWidth;
  row.classList.add('is-flashing');
  if (isStill()) {
    gain.remove();
    return;
  }
  const rising = gain.animate(
    [
      { opacity: 0, transform: 'translateY(6px)' },
      { opacity: 1, transform: 'translateY(0)', offset: 0.15 },
      { opacity: 1, transform: 'translateY(-2px)', offset: 0.7 },
      { opacity: 0, transform: 'translateY(-12px)' },
    ],
    { duration: 1600, easing: 'ease-out' },
  );
  rising.onfinish = () => {
    gain.remove();
  };
}
