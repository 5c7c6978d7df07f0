import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import type Koa from 'koa';
import mount from 'koa-mount';
import serve from 'koa-static';
import { PROBLEMS_PAGE } from '../../common/problems.ts';
import { htmlPage, style, STYLE_PATH } from '../html/page.ts';
import { problemsPage } from './problems-page.ts';

const page = htmlPage({
  title: 'Laurel API',
  head: `<link rel="stylesheet" href="/docs/assets/swagger-ui.css" />
    <link rel="stylesheet" href="/docs/reference.css" />`,
  kind: 'docs',
  body: `    <header>
      <a href="/docs">Laurel API</a>
      <a href="${PROBLEMS_PAGE}">Error codes</a>
      <a href="/openapi.json">openapi.json</a>
    </header>
    <div class="reference" id="swagger-ui"><p>The reference is being loaded.</p></div>
    <noscript><p class="reference">The reference needs JavaScript. <a href="/openapi.json">openapi.json</a> holds the same.</p></noscript>
    <script src="/docs/assets/swagger-ui-bundle.js" defer></script>
    <script src="/docs/start.js" defer></script>`,
});

/** Swagger UI has dark colours too, and leaves it to the page to ask for them. */
const startScript = `const dark = matchMedia('(prefers-color-scheme: dark)');
const follow = () => document.documentElement.classList.toggle('dark-mode', dark.matches);
dark.addEventListener('change', follow);
follow();
SwaggerUIBundle({ url: '/openapi.json', dom_id: '#swagger-ui', deepLinking: true, validatorUrl: null });
`;

/** The API's description: for machines at /openapi.json, for people at /docs, its error codes at /docs/problems. */
export function docsPages(document: unknown): Koa.Middleware[] {
  const assets = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));
  const fixed: Record<string, [type: string, body: string]> = {
    '/openapi.json': ['application/json; charset=utf-8', JSON.stringify(document)],
    '/docs': ['text/html; charset=utf-8', page],
    [PROBLEMS_PAGE]: ['text/html; charset=utf-8', problemsPage()],
    [STYLE_PATH]: ['text/css; charset=utf-8', style],
    '/docs/reference.css': [
      'text/css; charset=utf-8',
      readFileSync(new URL('reference.css', import.meta.url), 'utf8'),
    ],
    '/docs/start.js': ['text/javascript; charset=utf-8', startScript],
  };
  return [
    async (ctx, next) => {
      // A page answers with and without a slash at its end.
      const path = ctx.path.replace(/\/$/, '');
      const known = Object.hasOwn(fixed, path) ? fixed[path] : undefined;
      if (!known || (ctx.method !== 'GET' && ctx.method !== 'HEAD')) return next();
      ctx.type = known[0];
      ctx.set('Cache-Control', 'public, max-age=60');
      ctx.body = known[1];
    },
    mount('/docs/assets', serve(assets, { index: false, maxage: 3_600_000 })),
  ];
}
