const escape = (text: string): string =>
  text.replaceAll(/[&<>"']/g, (character) => `&#${character.codePointAt(0) ?? 0};`);

export const STYLE_PATH = '/admin/style.css';

/** The operators' sign-in page. @param problem why the last attempt failed */
export const signInPage = (problem?: string): string => `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>Laurel · operators</title>
    <link rel="stylesheet" href="${STYLE_PATH}" />
  </head>
  <body>
    <main>
      <h1>Laurel</h1>
      <p>Queues and upkeep, for operators.</p>
      <form method="post" action="/admin/sign-in">
        ${problem === undefined ? '' : `<p role="alert">${escape(problem)}</p>`}
        <label>User name <input name="username" autocomplete="username" required autofocus /></label>
        <label>Password <input name="password" type="password" autocomplete="current-password" required /></label>
        <button>Sign in</button>
      </form>
    </main>
  </body>
</html>
`;

/** Its style, which the content security policy wants in a file of its own. */
export const signInStyle = `:root { color-scheme: light dark; --ink: light-dark(#1d2b22, #e8efe9); --paper: light-dark(#f5f7f2, #111813); --leaf: light-dark(#2f6b46, #7fcf9c); }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { width: min(22rem, 90vw); }
h1 { margin: 0; color: var(--leaf); }
form { display: grid; gap: 1rem; }
label { display: grid; gap: 0.25rem; }
input, button { font: inherit; padding: 0.6rem 0.8rem; border-radius: 0.5rem; border: 1px solid color-mix(in srgb, var(--ink) 40%, transparent); background: transparent; color: inherit; }
button { background: var(--leaf); color: var(--paper); border: 0; cursor: pointer; }
:focus-visible { outline: 3px solid var(--leaf); outline-offset: 2px; }
[role='alert'] { margin: 0; padding: 0.6rem 0.8rem; border-left: 4px solid #c0392b; }
`;
