import { escapeHtml, htmlPage } from '../html/page.ts';

export const SIGN_OUT_PATH = '/admin/sign-out';

const page = (title: string, content: string): string =>
  htmlPage({
    title: `${title} · Laurel operators`,
    head: '<meta name="robots" content="noindex" />',
    kind: 'card',
    body: `    <main>
      <h1>Laurel</h1>
      ${content}
    </main>`,
  });

/** The operators' sign-in page. */
export const signInPage = ({
  problem,
  next = '',
}: {
  /** why the last attempt failed */
  readonly problem?: string;
  /** the page to open after sign-in */
  readonly next?: string;
} = {}): string =>
  page(
    problem === undefined ? 'Sign in' : 'Sign-in failed',
    `<p>Queues and upkeep, for operators.</p>
      <form method="post" action="/admin/sign-in">
        ${problem === undefined ? '' : `<p id="problem" role="alert">${escapeHtml(problem)}</p>`}
        ${next === '' ? '' : `<input type="hidden" name="next" value="${escapeHtml(next)}" />`}
        <label>User name <input name="username" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus${problem === undefined ? '' : ' aria-describedby="problem"'} /></label>
        <label>Password <input name="password" type="password" autocomplete="current-password" required /></label>
        <button>Sign in</button>
      </form>`,
  );

/** Asks a signed-in operator whether to sign out. @param home where the operator goes otherwise */
export const signOutPage = (home: string): string =>
  page(
    'Sign out',
    `<p>You are signed in as an operator.</p>
      <form method="post" action="${SIGN_OUT_PATH}">
        <button autofocus>Sign out</button>
      </form>
      <p><a href="${home}">Back to the queues</a></p>`,
  );
