import { problemAnchor, problems, type ProblemCode } from '../../common/problems.ts';
import { escapeHtml, htmlPage } from '../html/page.ts';

/** Text with `code` between backticks, as HTML. */
const inline = (text: string): string => escapeHtml(text).replaceAll(/`([^`]+)`/g, '<code>$1</code>');

function rows(): string {
  const codes = Object.keys(problems) as ProblemCode[];
  return codes
    .sort((a, b) => problems[a].status - problems[b].status)
    .map((code) => {
      const { status, title, advice } = problems[code];
      return `        <tr id="${problemAnchor(code)}">
          <td>${status}</td>
          <th scope="row"><a href="#${problemAnchor(code)}"><code>${code}</code></a></th>
          <td>${escapeHtml(title)}</td>
          <td>${inline(advice)}</td>
        </tr>`;
    })
    .join('\n');
}

/** The page that the `type` of every error leads to: all codes, what each means, and what to do. */
export const problemsPage = (): string =>
  htmlPage({
    title: 'Error codes · Laurel API',
    kind: 'docs',
    body: `    <header><a href="/docs">Laurel API</a></header>
    <main class="reference">
      <h1>Error codes</h1>
      <p>
        Errors are <a href="https://www.rfc-editor.org/rfc/rfc9457">RFC 9457</a> problem details. Act on
        <code>code</code>, which is stable; show <code>detail</code> to people. Responses of 429 and 503 carry
        <code>Retry-After</code>.
      </p>
      <div class="scroll" tabindex="0" role="region" aria-label="Table of error codes">
      <table>
        <thead>
          <tr><th scope="col">Status</th><th scope="col">Code</th><th scope="col">Meaning</th><th scope="col">What to do</th></tr>
        </thead>
        <tbody>
${rows()}
        </tbody>
      </table>
      </div>
    </main>`,
  });
