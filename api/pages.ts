import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type Koa from 'koa';
import serve from 'koa-static';

/** A demo player whom the page offers to newcomers. Only `npm start` has one. */
export interface DemoPlayer {
  readonly username: string;
  readonly password: string;
}

const DEMO_MARK = '<!-- demo -->';

/** The public page, from the folder into which it was built. */
export function webPages(folder: string, demo: DemoPlayer | undefined): Koa.Middleware[] {
  const file = join(folder, 'index.html');
  if (!existsSync(file)) throw new Error(`The web page is not built: ${file} is missing. Run: npm run build`);
  const hint = demo
    ? `<meta name="laurel-demo" content="${demo.username}" data-password="${demo.password}" />`
    : '';
  const index = readFileSync(file, 'utf8').replace(DEMO_MARK, hint);
  return [
    async (ctx, next) => {
      if (ctx.method !== 'GET' && ctx.method !== 'HEAD') return next();
      if (ctx.path === '/' || ctx.path === '/index.html') {
        ctx.type = 'text/html; charset=utf-8';
        ctx.set('Cache-Control', 'no-cache');
        ctx.body = index;
      } else return next();
    },
    serve(folder, {
      index: false,
      maxage: 60_000,
      // Pages of any origin may load the SDK; what it may then ask of the API is CORS_ORIGINS' affair.
      setHeaders: (response, path) => {
        if (basename(path) === 'sdk.js') response.setHeader('Access-Control-Allow-Origin', '*');
      },
    }),
  ];
}
