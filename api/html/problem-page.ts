import { problemAnchor, problems, PROBLEMS_PAGE } from '../../common/problems.ts';
import type { Problem } from '../http/problem.ts';
import { escapeHtml, htmlPage } from './page.ts';

/** A problem, for somebody who came with a browser. */
export const problemPage = ({ code, status, message }: Problem, requestId: string): string =>
  htmlPage({
    title: `${problems[code].title} · Laurel`,
    kind: 'card',
    body: `    <main>
      <p class="brand">Laurel</p>
      <h1>${problems[code].title}</h1>
      <p>${escapeHtml(message)}</p>
      <p class="soft">
        ${status} · <a href="${PROBLEMS_PAGE}#${problemAnchor(code)}">${code}</a> · Request ${escapeHtml(requestId)}
      </p>
      <nav class="links" aria-label="Laurel">
        <a href="/">Scoreboard</a>
        <a href="/docs">API documentation</a>
      </nav>
    </main>`,
  });
