import type { Session } from './session.ts';
import type { Login } from './types.ts';

/** Where the signed-in user is signed in, and a password that was forgotten. */
export class Logins {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  async list(): Promise<Login[]> {
    const { body } = await this.#session.send<{ sessions: Login[] }>({ path: '/auth/sessions' });
    return body.sessions;
  }

  async end(id: string): Promise<void> {
    await this.#session.send({ method: 'DELETE', path: `/auth/sessions/${encodeURIComponent(id)}` });
  }

  async endOthers(): Promise<void> {
    await this.#session.send({ method: 'DELETE', path: '/auth/sessions' });
  }

  async resetPassword(input: { token: string; password: string }): Promise<void> {
    await this.#session.send({ method: 'POST', path: '/auth/password/reset', body: input }, 'optional');
  }
}
