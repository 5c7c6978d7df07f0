import { LaurelError, type LaurelClient } from '../client/index.ts';
import { avatar } from './avatar.ts';
import { demoPlayer } from './demo.ts';
import { byId } from './dom.ts';
import { errorWords, fieldWords } from './words.ts';

const FIELDS = ['username', 'email', 'password'] as const;
type Field = (typeof FIELDS)[number];

const MISSING: Record<Field, string> = {
  username: 'Enter your user name.',
  email: 'Enter your e-mail address.',
  password: 'Enter your password.',
};

/** The field that an error of the service is about. */
const FIELD_OF: Partial<Record<string, Field>> = {
  USERNAME_TAKEN: 'username',
  USERNAME_RESERVED: 'username',
  EMAIL_TAKEN: 'email',
};

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
    this.#dialog.addEventListener('close', () => {
      this.#keepFocus();
    });
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#send();
    });
    for (const field of FIELDS) {
      this.#input(field).addEventListener('input', () => {
        this.#mark(field, null);
      });
    }
    this.#offerDemo();
    this.show();
  }

  open(): void {
    if (this.#dialog.open) return;
    this.#setRegistering(false);
    this.#dialog.showModal();
    this.#input('username').focus();
  }

  /** The header, for the visitor as signed in or not. */
  show(): void {
    const { user } = this.#client;
    const account = byId('account');
    const hadFocus = account.contains(document.activeElement);
    account.hidden = !user;
    byId('open-sign-in').hidden = user !== null;
    byId('account-name').textContent = user?.username ?? '';
    byId('account-avatar').replaceChildren(...(user ? [avatar(user)] : []));
    if (hadFocus && !user) byId('open-sign-in').focus();
  }

  /** The button that opened the dialog is gone once somebody is signed in: the focus must not go with it. */
  #keepFocus(): void {
    const { activeElement } = document;
    // One that was just hidden has the focus until the next frame.
    if (activeElement !== document.body && activeElement?.checkVisibility()) return;
    (this.#client.user ? byId('account') : byId('open-sign-in')).focus();
  }

  #input(name: Field): HTMLInputElement {
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
    this.#clearErrors();
  }

  #clearErrors(): void {
    for (const field of FIELDS) this.#mark(field, null);
    this.#fail(null);
  }

  /** Marks a field as wrong, and says why below it; null for right. */
  #mark(field: Field, words: string | null): void {
    const input = this.#input(field);
    const error = byId(`${field}-error`);
    error.textContent = words ?? '';
    error.hidden = words === null;
    if (words === null) {
      input.removeAttribute('aria-invalid');
      input.removeAttribute('aria-describedby');
    } else {
      input.setAttribute('aria-invalid', 'true');
      input.setAttribute('aria-describedby', error.id);
    }
  }

  #fail(text: string | null): void {
    this.#error.hidden = text === null;
    this.#error.textContent = text ?? '';
  }

  async #send(): Promise<void> {
    if (this.#submit.getAttribute('aria-busy') === 'true') return;
    const username = this.#input('username').value.trim();
    const password = this.#input('password').value;
    const email = this.#input('email').value.trim();
    this.#clearErrors();
    const given = { username, password, ...(this.#registering && { email }) };
    const missing = FIELDS.filter((field) => given[field] === '');
    if (missing.length > 0) {
      for (const field of missing) this.#mark(field, MISSING[field]);
      this.#fail('Please fill in every field.');
      this.#focusFirstWrong();
      return;
    }
    // Not disabled: a disabled button loses the focus.
    this.#submit.setAttribute('aria-busy', 'true');
    try {
      if (this.#registering) await this.#client.register({ username, email, password });
      await this.#client.login({ username, password });
      this.#form.reset();
      this.#dialog.close();
    } catch (error) {
      this.#refused(error);
    } finally {
      this.#submit.removeAttribute('aria-busy');
    }
  }

  #refused(error: unknown): void {
    this.#fail(errorWords(error));
    if (!(error instanceof LaurelError)) return;
    if (error.code === 'BAD_CREDENTIALS') {
      // Which of the two is wrong, the service does not tell.
      for (const field of ['username', 'password'] as const) {
        this.#input(field).setAttribute('aria-invalid', 'true');
        this.#input(field).setAttribute('aria-describedby', this.#error.id);
      }
      this.#input('password').focus();
      this.#input('password').select();
      return;
    }
    const field = FIELD_OF[error.code];
    if (field) this.#mark(field, errorWords(error));
    const faults = FIELDS.flatMap((name) => {
      const fault = error.errors.find(({ path }) => path === name);
      return fault ? [{ name, words: fieldWords(fault) }] : [];
    });
    for (const { name, words } of faults) this.#mark(name, words);
    if (faults.length > 0 && faults.length === error.errors.length)
      this.#fail('Please correct what is marked.');
    this.#focusFirstWrong();
  }

  #focusFirstWrong(): void {
    const wrong = FIELDS.find((field) => this.#input(field).getAttribute('aria-invalid') === 'true');
    if (wrong) this.#input(wrong).focus();
  }

  #offerDemo(): void {
    const demo = demoPlayer();
    if (!demo) return;
    byId('demo').hidden = false;
    byId('demo-name').textContent = demo.username;
    byId('demo-password').textContent = demo.password;
    byId('use-demo').addEventListener('click', () => {
      this.#setRegistering(false);
      this.#input('username').value = demo.username;
      this.#input('password').value = demo.password;
      this.#submit.focus();
    });
  }
}
