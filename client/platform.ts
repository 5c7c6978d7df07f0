/** What a page has and a bare Node process has not. Described here, so that the SDK compiles without the DOM's types. */
interface Platform {
  addEventListener?(type: string, listener: (event: PlatformEvent) => void): void;
  removeEventListener?(type: string, listener: (event: PlatformEvent) => void): void;
  readonly location?: { readonly origin?: string };
  readonly navigator?: { readonly locks?: { request<T>(name: string, run: () => Promise<T>): Promise<T> } };
}

/** The parts of a page's `storage` event that Laurel uses. */
export interface PlatformEvent {
  readonly key?: string | null;
  readonly storageArea?: unknown;
}

const platform = globalThis as unknown as Platform;

/** Hears a page's event; where there is no page, never. @returns what ends it */
export function onPlatform(type: 'online' | 'storage', listener: (event: PlatformEvent) => void): () => void {
  platform.addEventListener?.(type, listener);
  return () => platform.removeEventListener?.(type, listener);
}

/** The origin of the page that the SDK runs in; undefined outside of pages. */
export const pageOrigin = (): string | undefined => platform.location?.origin;

/** Runs alone over all tabs of the origin, where the platform can (secure contexts). */
export function alone<T>(name: string, run: () => Promise<T>): Promise<T> {
  const locks = platform.navigator?.locks;
  return locks ? locks.request(name, run) : run();
}
