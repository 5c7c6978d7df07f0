import { make } from './dom.ts';

/** A stable hue (degrees) for an id, so that players without a picture can be told apart. */
function hue(id: string): number {
  // FNV-1a, because ids that differ in one letter must still differ in colour.
  let hash = 0x811c9dc5;
  for (const char of id) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193);
  return ((hash ^ (hash >>> 15)) >>> 0) % 360;
}

function initials(name: string): string {
  const words = name.split(/[\s_.-]+/).filter((word) => word !== '');
  const letters = words.length > 1 ? words.slice(0, 2).map((word) => [...word][0]) : [...name].slice(0, 2);
  return letters.join('').toUpperCase();
}

/**
 * A round picture. The address comes from a stranger: only https is asked for, the page's own address is not
 * told, and initials stand in for whatever does not load.
 */
export function avatar(player: { userId: string; username: string; avatarUrl?: string | null }): HTMLElement {
  const element = make('span', 'avatar', initials(player.username));
  element.setAttribute('aria-hidden', 'true');
  element.style.setProperty('--hue', String(hue(player.userId)));
  const address = safeAddress(player.avatarUrl);
  if (address) {
    const image = document.createElement('img');
    image.alt = '';
    image.referrerPolicy = 'no-referrer';
    image.decoding = 'async';
    image.addEventListener('error', () => {
      image.remove();
    });
    image.src = address;
    element.append(image);
  }
  return element;
}

function safeAddress(value: string | null | undefined): string | null {
  if (!value) return null;
  try {
    const url = new URL(value);
    return url.protocol === 'https:' ? url.href : null;
  } catch {
    // Not an address at all.
    return null;
  }
}
