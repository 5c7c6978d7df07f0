import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import type Koa from 'koa';
import mount from 'koa-mount';
import serve from 'koa-static';
import { PROBLEMS_PAGE } from '../../common/problems.ts';
import { problemsPage } from './problems-page.ts';

const page = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>Laurel API</title>
    <link rel="icon" href="data:," />
    <link rel="stylesheet" href="/docs/assets/swagger-ui.css" />
    <link rel="stylesheet" href="/docs/style.css" />
  </head>
  <body>
    <header>
      <a href="/docs">Laurel API</a>
      <a href="${PROBLEMS_PAGE}">Error codes</a>
      <a href="/openapi.json">openapi.json</a>
    </header>
    <main id="swagger-ui"><p>The reference is being loaded.</p></main>
    <noscript><p>The reference needs JavaScript. <a href="/openapi.json">openapi.json</a> holds the same.</p></noscript>
    <script src="/docs/assets/swagger-ui-bundle.js" defer></script>
    <script src="/docs/start.js" defer></script>
  </body>
</html>
`;
const startScript = `SwaggerUIBundle({ url: '/openapi.json', dom_id: '#swagger-ui', deepLinking: true, validatorUrl: null });\n`;
const style = `body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: #1b1f24; background: #fff; }
header { display: flex; flex-wrap: wrap; gap: 0 24px; padding: 0 20px; background: #1b1f24; }
header a { padding: 12px 0; color: #fff; }
main, noscript { display: block; max-width: 1400px; margin: 0 auto; padding: 0 20px 40px; }
a { color: #0b57d0; }
a:focus-visible, .scroll:focus-visible { outline: 3px solid #f5a623; outline-offset: 2px; }
code { font: 0.875em/1.4 ui-monospace, monospace; }
.scroll { overflow-x: auto; }
main > .scroll > table { width: 100%; border-collapse: collapse; text-align: left; }
.scroll th, .scroll td { padding: 8px 12px 8px 0; border-bottom: 1px solid #d6dae0; vertical-align: top; }
.scroll tr:target { background: #fff3d6; }
`;

/** The API's description: for machines at /openapi.json, for people at /docs, its error codes at /docs/problems. */
export function docsPages(document: unknown): Koa.Middleware[] {
  const assets = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));
  const fixed: Record<string, [type: string, body: string]> = {
    '/openapi.json': ['application/json; charset=utf-8', JSON.stringify(document)],
    '/docs': ['text/html; charset=utf-8', page],
    [PROBLEMS_PAGE]: ['text/html; charset=utf-8', problemsPage()],
    '/docs/style.css': ['text/css; charset=utf-8', style],
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
