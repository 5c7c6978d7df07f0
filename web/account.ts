import type { LaurelClient } from '../client/index.ts';
import { avatar } from './avatar.ts';
import { byId } from './dom.ts';
import { errorWords } from './words.ts';

/** Signing in and out, and making an account. */
export class Account {
  readonly #client: LaurelClient;
  readonly #dialog = byId<HTMLDialogElement>('sign-in');
  readonly #form = byId<HTMLFormElement>('sign-in-form');
  readonly #error = byId('sign-in-error');
  readonly #submit = byId<HTMLButtonElement>('submit-sign-in');
  #registering = false;

  constructor(client: LaurelClient) {
    this.#client = client;
    byId('open-sign-in').addEventListener('click', () => {
      this.open();
    });
    byId('close-sign-in').addEventListener('click', () => {
      this.#dialog.close();
    });
    byId('sign-out').addEventListener('click', () => {
      void client.logout();
    });
    byId('toggle-register').addEventListener('click', () => {
      this.#setRegistering(!this.#registering);
      this.#input('username').focus();
    });
    // A press on the backdrop is a press on the dialog itself, outside the form that fills it.
    this.#dialog.addEventListener('pointerdown', (event) => {
      if (event.target === this.#dialog) this.#dialog.close();
    });
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#send();
    });
    this.#offerDemo();
    this.show();
  }

  open(): void {
    this.#setRegistering(false);
    this.#dialog.showModal();
    this.#input('username').focus();
  }

  /** The header, for whoever is signed in. */
  show(): void {
    const { user } = this.#client;
    byId('account').hidden = !user;
    byId('open-sign-in').hidden = user !== null;
    byId('account-name').textContent = user?.username ?? '';
    byId('account-avatar').replaceChildren(...(user ? [avatar(user)] : []));
  }

  #input(name: 'username' | 'email' | 'password'): HTMLInputElement {
    return this.#form.elements.namedItem(name) as HTMLInputElement;
  }

  #setRegistering(registering: boolean): void {
    this.#registering = registering;
    const title = registering ? 'Create an account' : 'Sign in';
    byId('sign-in-title').textContent = title;
    this.#submit.textContent = title;
    byId('switch-text').textContent = registering ? 'Already playing?' : 'New here?';
    byId('toggle-register').textContent = registering ? 'Sign in' : 'Create an account';
    byId('email-field').hidden = !registering;
    this.#input('email').required = registering;
    this.#input('password').autocomplete = registering ? 'new-password' : 'current-password';
    this.#fail(null);
  }

  #fail(text: string | null): void {
    this.#error.hidden = text === null;
    this.#error.textContent = text ?? '';
  }

  async #send(): Promise<void> {
    const username = this.#input('username').value.trim();
    const password = this.#input('password').value;
    const email = this.#input('email').value.trim();
    if (!username || !password || (this.#registering && !email)) {
      this.#fail('Please fill in every field.');
      const empty = !username ? 'username' : this.#registering && !email ? 'email' : 'password';
      this.#input(empty).focus();
      return;
    }
    this.#fail(null);
    this.#submit.disabled = true;
    this.#submit.setAttribute('aria-busy', 'true');
    try {
      if (this.#registering) await this.#client.register({ username, email, password });
      await this.#client.login({ username, password });
      this.#form.reset();
      this.#dialog.close();
    } catch (error) {
      this.#fail(errorWords(error));
    } finally {
      this.#submit.disabled = false;
      this.#submit.removeAttribute('aria-busy');
    }
  }

  /** Only where the operator put a demo player into the page. */
  #offerDemo(): void {
    const meta = document.querySelector<HTMLMetaElement>('meta[name="laurel-demo"]');
    const password = meta?.dataset['password'];
    if (!meta?.content || !password) return;
    byId('demo').hidden = false;
    byId('demo-name').textContent = meta.content;
    byId('demo-password').textContent = password;
    byId('use-demo').addEventListener('click', () => {
      this.#setRegistering(false);
      this.#input('username').value = meta.content;
      this.#input('password').value = password;
      this.#submit.focus();
    });
  }
}
