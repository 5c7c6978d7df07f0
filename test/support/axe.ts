import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import type { Page } from 'playwright-core';

const script = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

interface Found {
  readonly violations: readonly {
    readonly id: string;
    readonly impact: string;
    readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[];
  }[];
}

/** What axe finds on the page as it is, a line a rule. Playwright runs the script from outside, so the page's policy lets it. */
export async function axeViolations(page: Page): Promise<string[]> {
  await page.evaluate(await readFile(script, 'utf8'));
  const { violations } = (await page.evaluate('axe.run()')) as Found;
  return violations.map(({ id, impact, nodes }) => {
    const [first] = nodes;
    return `${impact} ${id}: ${first?.html ?? ''} ${first?.failureSummary ?? ''}`;
  });
}
