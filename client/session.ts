import { Emitter } from './emitter.ts';
import { LaurelError, badResponse, isRecord, toLaurelError, transient } from './errors.ts';
import type { Http, HttpRequest, HttpResponse } from './http.ts';
import { alone, onPlatform } from './platform.ts';
import { retry } from './retry.ts';
import type { SessionEvent, SessionUser, StorageLike } from './types.ts';

const STORAGE_KEY = 'laurel.session';

/** Taken off an access token's life (ms), so that a request under way does not arrive too late. */
const EARLY_MS = 30_000;

/** Tries of a request that changes nothing, and how long (ms) they may take together. */
const READ_TRIES = 3;
const READ_DEADLINE_MS = 15_000;

/** What is kept, and shared by all tabs of a page through its storage. */
interface Kept {
  accessToken: string;
  /** Local clock, ms since the epoch. */
  expiresAt: number;
  refreshToken: string;
  signingKey: string | null;
  user: SessionUser;
}

interface TokenAnswer {
  accessToken: string;
  expiresIn: number;
  refreshToken: string;
  signingKey?: string;
  user?: SessionUser;
}

/**
 * Who is signed in. Keeps an access token at hand that is good for the next request, and makes sure that
 * refresh tokens, each good for one use, are never used twice at the same time: not by two requests, nor by
 * two tabs that share the storage.
 */
export class Session {
  readonly #http: Http;
  readonly #storage: StorageLike | null;
  readonly #outside: (() => string | null | Promise<string | null>) | null;
  readonly #events = new Emitter<SessionEvent>();
  #kept: Kept | null;
  #refreshing: Promise<string | null> | null = null;
  #unlisten: () => void = () => undefined;

  constructor(options: {
    http: Http;
    storage?: StorageLike | undefined;
    getToken?: (() => string | null | Promise<string | null>) | undefined;
  }) {
    this.#http = options.http;
    this.#storage = options.storage ?? null;
    this.#outside = options.getToken ?? null;
    this.#kept = this.#read();
    this.#listenToOtherTabs();
  }

  /** Null where nobody is signed in, or where tokens come from outside. */
  get user(): SessionUser | null {
    return this.#kept?.user ?? null;
  }

  /** The key for client-signed completions, UTF-8 text. */
  get signingKey(): string | null {
    return this.#kept?.signingKey ?? null;
  }

  on(listener: (event: SessionEvent) => void): () => void {
    return this.#events.on(listener);
  }

  /** @throws {LaurelError} `USERNAME_TAKEN`, `EMAIL_TAKEN`, `INVALID_REQUEST`, `RATE_LIMITED` */
  async register(input: { username: string; email: string; password: string }): Promise<SessionUser> {
    const { body } = await this.#http.send<{ user: SessionUser }>({
      method: 'POST',
      path: '/auth/register',
      body: input,
    });
    return body.user;
  }

  /** @throws {LaurelError} `BAD_CREDENTIALS`, `USER_BANNED`, `RATE_LIMITED` */
  async login(input: { username: string; password: string }): Promise<SessionUser> {
    const { body } = await this.#http.send<TokenAnswer & { user: SessionUser }>({
      method: 'POST',
      path: '/auth/login',
      body: input,
    });
    const kept = keptFrom(body, null, body.user);
    this.#keep(kept);
    this.#events.emit({ type: 'signed-in', user: kept.user });
    return kept.user;
  }

  /** Changes the password. Every other login of the user ends; this one goes on with new tokens. */
  async changePassword(input: { current: string; new: string }): Promise<void> {
    const { body } = await this.send<TokenAnswer>({ method: 'POST', path: '/auth/password', body: input });
    const kept = this.#kept;
    if (kept) this.#keep(keptFrom(body, kept.signingKey, kept.user));
  }

  /** Signs out here at once; that the service could not be told is no error, its tokens run out by themselves. */
  async logout(): Promise<void> {
    // A refresh under way is about to replace the very token that is to be ended.
    await this.#refreshing?.catch(() => null);
    const kept = this.#kept;
    if (!kept) return;
    this.#keep(null);
    this.#events.emit({ type: 'signed-out', reason: 'logout' });
    try {
      await this.#http.send({
        method: 'POST',
        path: '/auth/logout',
        body: { refreshToken: kept.refreshToken },
        token: kept.accessToken,
      });
    } catch {
      return;
    }
  }

  /**
   * An access token for the next request, refreshed where it is about to expire; null for nobody.
   *
   * @throws {LaurelError} where a refresh is due and the service cannot be reached
   */
  async accessToken(): Promise<string | null> {
    if (this.#outside) return this.#outside();
    const kept = this.#kept;
    if (!kept) return null;
    return kept.expiresAt > Date.now() ? kept.accessToken : this.refresh(kept.accessToken);
  }

  /**
   * A newer access token than `stale`. Callers that come while a refresh is under way share it. Null: the
   * session has ended, and listeners have been told.
   *
   * @throws {LaurelError} where the service cannot be reached; the session stands
   */
  async refresh(stale: string): Promise<string | null> {
    if (this.#outside) return this.#outside();
    if (this.#refreshing) return this.#refreshing;
    if (this.#kept && this.#kept.accessToken !== stale) return this.#kept.accessToken;
    this.#refreshing = alone(STORAGE_KEY, () => this.#rotate(stale)).finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  /**
   * Sends a request as the user who is signed in. An access token that is refused is refreshed once, and the
   * request sent again once. Requests that change nothing are also tried again after network errors, time-outs
   * and 502 to 504: 3 times in all.
   *
   * @throws {LaurelError} `UNAUTHENTICATED` without a request, where `required` and nobody is signed in
   */
  async send<T>(request: HttpRequest, auth: 'required' | 'optional' = 'required'): Promise<HttpResponse<T>> {
    const attempt = () => this.#sendOnce<T>(request, auth);
    if (request.once || (request.method ?? 'GET') !== 'GET') return attempt();
    const deadline = Date.now() + READ_DEADLINE_MS;
    return retry(attempt, { tries: READ_TRIES, again: transient, signal: request.signal, deadline });
  }

  /** The absolute URL of a path below `/api/v1`. */
  url(path: string): string {
    return this.#http.url(path);
  }

  /** Stops listening to other tabs. The session itself stands. */
  close(): void {
    this.#unlisten();
    this.#events.clear();
  }

  async #sendOnce<T>(request: HttpRequest, auth: 'required' | 'optional'): Promise<HttpResponse<T>> {
    const token = await this.accessToken();
    if (!token && auth === 'required') {
      throw new LaurelError({ status: 401, code: 'UNAUTHENTICATED', detail: 'Sign in first.' });
    }
    try {
      return await this.#http.send<T>({ ...request, token });
    } catch (error) {
      if (!token || !isTokenRefused(error)) throw error;
      const fresh = await this.refresh(token);
      if (!fresh && auth === 'required') throw error;
      return this.#http.send<T>({ ...request, token: fresh });
    }
  }

  async #rotate(stale: string): Promise<string | null> {
    // Another tab may have rotated, or signed out, while this one waited for its turn.
    if (this.#storage) this.#adopt(this.#read());
    const before = this.#kept;
    if (!before) return null;
    if (before.accessToken !== stale && before.expiresAt > Date.now()) return before.accessToken;
    try {
      const { body } = await this.#http.send<TokenAnswer>({
        method: 'POST',
        path: '/auth/refresh',
        body: { refreshToken: before.refreshToken },
      });
      // Someone signed in afresh meanwhile: theirs stands.
      if (this.#kept !== before) return this.#kept?.accessToken ?? null;
      this.#keep(keptFrom(body, before.signingKey, before.user));
      return body.accessToken;
    } catch (error) {
      const problem = toLaurelError(error);
      if (problem.status !== 401 && problem.status !== 403 && problem.status !== 404) throw problem;
      // Without locks, another tab may have refreshed in between, and this one's token was an earlier one.
      const kept = this.#storage ? this.#read() : null;
      if (kept && this.#kept === before && kept.refreshToken !== before.refreshToken) {
        this.#adopt(kept);
        return kept.accessToken;
      }
      if (this.#kept === before) {
        this.#keep(null);
        this.#events.emit({ type: 'signed-out', reason: 'expired' });
      }
      return null;
    }
  }

  #keep(kept: Kept | null): void {
    this.#kept = kept;
    try {
      if (kept) this.#storage?.setItem(STORAGE_KEY, JSON.stringify(kept));
      else this.#storage?.removeItem(STORAGE_KEY);
    } catch {
      // A full or forbidden storage costs the session its next visit, not this one.
      return;
    }
  }

  #read(): Kept | null {
    try {
      const value: unknown = JSON.parse(this.#storage?.getItem(STORAGE_KEY) ?? 'null');
      return isKept(value) ? value : null;
    } catch {
      // Unreadable or forbidden storage is the same as an empty one.
      return null;
    }
  }

  #adopt(kept: Kept | null): void {
    const before = this.#kept;
    this.#kept = kept;
    if (before && !kept) this.#events.emit({ type: 'signed-out', reason: 'logout' });
    if (kept && before?.user.userId !== kept.user.userId) {
      this.#events.emit({ type: 'signed-in', user: kept.user });
    }
  }

  #listenToOtherTabs(): void {
    if (!this.#storage) return;
    this.#unlisten = onPlatform('storage', ({ key, storageArea }) => {
      if (storageArea === this.#storage && (key === STORAGE_KEY || key === null)) this.#adopt(this.#read());
    });
  }
}

/** Whether the answer says that the access token is good no more: it has run out, or was revoked. */
export function isTokenRefused(error: unknown): boolean {
  if (!(error instanceof LaurelError) || error.status !== 401) return false;
  return error.code === 'TOKEN_EXPIRED' || error.code === 'UNAUTHENTICATED';
}

/** @throws {LaurelError} `BAD_RESPONSE` for tokens that are none: a login that stands is not given up for them */
function keptFrom(answer: TokenAnswer, signingKey: string | null, user: SessionUser): Kept {
  const lifeMs = answer.expiresIn * 1000;
  const kept = {
    accessToken: answer.accessToken,
    // Very short lives (tests, strict installations) still leave the token half of its life to be used.
    expiresAt: Date.now() + Math.max(lifeMs - EARLY_MS, lifeMs / 2),
    refreshToken: answer.refreshToken,
    signingKey: answer.signingKey ?? signingKey,
    user: answer.user ?? user,
  };
  if (isKept(kept)) return kept;
  throw badResponse(200, 'The answer has no tokens. Does baseUrl point at Laurel?');
}

function isKept(value: unknown): value is Kept {
  return (
    isRecord(value) &&
    typeof value['accessToken'] === 'string' &&
    typeof value['refreshToken'] === 'string' &&
    Number.isFinite(value['expiresAt']) &&
    isRecord(value['user']) &&
    typeof value['user']['userId'] === 'string'
  );
}
