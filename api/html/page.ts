import { readFileSync } from 'node:fs';
import type Koa from 'koa';

/** Where the style of every page is that the API makes. */
export const STYLE_PATH = '/docs/style.css';

const textOf = (file: string): string => readFileSync(new URL(file, import.meta.url), 'utf8');
export const style = textOf('../../common/colours.css') + textOf('style.css');

export const escapeHtml = (text: string): string =>
  text.replaceAll(/[&<>"']/g, (character) => `&#${character.codePointAt(0) ?? 0};`);

/** Browsers ask for HTML by name; programs ask for JSON, or for anything. */
export const wantsPage = (ctx: Koa.Context): boolean => ctx.accepts('json', 'html') === 'html';

interface PageParts {
  /** as HTML, like the other parts */
  readonly title: string;
  readonly head?: string;
  /** the kind of page, which its style follows */
  readonly kind: 'docs' | 'card';
  readonly body: string;
}

/** A whole page. The content security policy allows neither scripts nor styles in it, only files beside it. */
export const htmlPage = ({ title, head = '', kind, body }: PageParts): string => `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="color-scheme" content="light dark" />
    <title>${title}</title>
    ${head}
    <link rel="stylesheet" href="${STYLE_PATH}" />
    <link rel="icon" href="data:," />
  </head>
  <body class="${kind}">
${body}
  </body>
</html>
`;
