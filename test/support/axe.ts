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

/**
 * What axe finds on the page as it is, a line a rule. Playwright runs the script from outside, so the page's policy lets it.
 *
 * @param rules those that count; all, if none are named
 */
export async function axeViolations(page: Page, ...rules: readonly string[]): Promise<string[]> {
  await page.evaluate(await readFile(script, 'utf8'));
  const options = JSON.stringify(rules.length > 0 ? { runOnly: rules } : {});
  const { violations } = (await page.evaluate(`axe.run(document, ${options})`)) as Found;
  return violations.map(({ id, impact, nodes }) => {
    const [first] = nodes;
    return `${impact} ${id}: ${first?.html ?? ''} ${first?.failureSummary ?? ''}`;
  });
}
