/** Hosts of a person's own machine, on which a development server takes any port. */
const own = /^https?:\/\/(?:localhost|127\.0\.0\.1|\[::1\]):\*$/;

/**
 * An origin as browsers write it in `Origin`: lower case, no slash at the end, no default port. `http://localhost:*` stands for any
 * port of the developer's machine.
 *
 * @throws Error that says what is wrong, and what is right
 */
export function normalizeOrigin(text: string): string {
  if (text === '*')
    throw new Error(
      'must not be `*`: list the origins, such as https://game.example,https://www.game.example',
    );
  const lower = text.toLowerCase().replace(/\/$/, '');
  if (own.test(lower)) return lower;
  const [scheme, rest] = /^([a-z][a-z0-9+.-]*):\/\/([^/?#@\s]+)$/.exec(lower)?.slice(1) ?? [];
  if (scheme === undefined || rest === undefined || rest.includes('*') || !URL.canParse(lower))
    throw new Error(
      `has ${text}, which is no origin. Write scheme and host only, such as https://game.example`,
    );
  const { origin } = new URL(lower);
  return origin === 'null' ? lower : origin; // apps have schemes of their own
}

/** Whether the page of an origin may call the API and open sockets. @param allowed normalised ones */
export function originCheck(allowed: readonly string[]): (origin: string) => boolean {
  const exact = new Set(allowed);
  const anyPort = allowed.filter((one) => own.test(one)).map((one) => one.slice(0, -2));
  return (origin) =>
    exact.has(origin) ||
    anyPort.some((one) => origin === one || (origin.startsWith(`${one}:`) && /:\d{1,5}$/.test(origin)));
}
