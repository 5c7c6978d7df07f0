import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import type Koa from 'koa';
import mount from 'koa-mount';
import serve from 'koa-static';

const page = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>Laurel API</title>
    <link rel="stylesheet" href="/docs/assets/swagger-ui.css" />
  </head>
  <body>
    <div id="swagger-ui"></div>
    <script src="/docs/assets/swagger-ui-bundle.js"></script>
    <script src="/docs/start.js"></script>
  </body>
</html>
`;
const startScript = `SwaggerUIBundle({ url: '/openapi.json', dom_id: '#swagger-ui', deepLinking: true, validatorUrl: null });\n`;

/** The API's description: for machines at /openapi.json, for people at /docs. */
export function docsPages(document: unknown): Koa.Middleware[] {
  const json = JSON.stringify(document);
  const assets = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));
  const fixed: Record<string, [type: string, body: string]> = {
    '/openapi.json': ['application/json; charset=utf-8', json],
    '/docs': ['text/html; charset=utf-8', page],
    '/docs/start.js': ['text/javascript; charset=utf-8', startScript],
  };
  return [
    async (ctx, next) => {
      const known = Object.hasOwn(fixed, ctx.path) ? fixed[ctx.path] : undefined;
      if (!known || (ctx.method !== 'GET' && ctx.method !== 'HEAD')) return next();
      ctx.type = known[0];
      ctx.set('Cache-Control', 'public, max-age=60');
      ctx.body = known[1];
    },
    mount('/docs/assets', serve(assets, { index: false, maxage: 3_600_000 })),
  ];
}
