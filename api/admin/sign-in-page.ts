const escape = (text: string): string =>
  text.replaceAll(/[&<>"']/g, (character) => `&#${character.codePointAt(0) ?? 0};`);

export const STYLE_PATH = '/admin/style.css';
export const SIGN_OUT_PATH = '/admin/sign-out';

const page = (title: string, content: string): string => `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="robots" content="noindex" />
    <title>${title} · Laurel operators</title>
    <link rel="stylesheet" href="${STYLE_PATH}" />
    <link rel="icon" href="data:," />
  </head>
  <body>
    <main>
      <h1>Laurel</h1>
      ${content}
    </main>
  </body>
</html>
`;

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
        ${problem === undefined ? '' : `<p id="problem" role="alert">${escape(problem)}</p>`}
        ${next === '' ? '' : `<input type="hidden" name="next" value="${escape(next)}" />`}
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

/** Their style, which the content security policy wants in a file of its own. */
export const signInStyle = `:root { color-scheme: light dark; --ink: light-dark(#1d2b22, #e8efe9); --paper: light-dark(#f5f7f2, #111813); --leaf: light-dark(#2f6b46, #7fcf9c); }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { width: min(22rem, 90vw); }
h1 { margin: 0; color: var(--leaf); }
a { color: var(--leaf); }
form { display: grid; gap: 1rem; }
label { display: grid; gap: 0.25rem; }
input, button { font: inherit; min-height: 44px; padding: 0.6rem 0.8rem; border-radius: 0.5rem; border: 1px solid color-mix(in srgb, var(--ink) 60%, transparent); background: transparent; color: inherit; }
button { background: var(--leaf); color: var(--paper); border: 0; cursor: pointer; }
:focus-visible { outline: 3px solid var(--leaf); outline-offset: 2px; }
[role='alert'] { margin: 0; padding: 0.6rem 0.8rem; border-left: 4px solid #c0392b; }
`;
